// A panel's field configuration and transformations, applied by Grafana's own code.
import { lastValueFrom, of } from 'rxjs';
import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';

// Some are there under an old name as well.
standardTransformersRegistry.setInit(() =>
  [...new Set(Object.values(standardTransformers))].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation: () => Promise.resolve(transformation),
    editor: () => null,
  })),
);

const STANDARD = 'unit min max decimals displayName color noValue links mappings thresholds description fieldMinMax filterable'
  .split(' ');

// What a panel sets of its own lies under `custom`, however deep: each of these is an option that overrides may name.
const customOptions = (fieldConfig) => [
  ...new Set([
    ...Object.keys(fieldConfig.defaults?.custom ?? {}),
    ...(fieldConfig.overrides ?? [])
      .flatMap((rule) => rule.properties.map((property) => property.id))
      .filter((id) => id.startsWith('custom.'))
      .map((id) => id.slice('custom.'.length)),
  ]),
];

const option = (id, path, isCustom) => ({
  id,
  path,
  isCustom,
  name: id,
  editor: () => null,
  override: () => null,
  process: (value) => value,
  shouldApply: () => true,
  settings: {},
});

const registryFor = (fieldConfig) =>
  new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((id) => option(id, id, false)),
    ...customOptions(fieldConfig).map((path) => option(`custom.${path}`, path, true)),
  ]);

// JSON has no -Infinity: the first step's value is null there.
const withThresholds = (fieldConfig, base) => {
  const thresholds = fieldConfig.defaults?.thresholds ?? base;
  const steps = thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity }));
  return { ...fieldConfig, defaults: { ...fieldConfig.defaults, thresholds: { ...thresholds, steps } } };
};

const GREEN = { mode: 'absolute', steps: [{ color: 'green', value: null }, { color: 'red', value: 80 }] };

// What a panel leaves out is what its type has by itself.
export const fieldConfigOf = (panel, { color, custom }) => {
  const given = withThresholds(panel.fieldConfig ?? {}, GREEN);
  const defaults = { color: { mode: color }, mappings: [], ...given.defaults, custom: { ...custom, ...given.defaults.custom } };
  return { overrides: [], ...given, defaults };
};

export const finished = async (panel, frames, { fieldConfig, theme, replaceVariables }) => {
  const configs = (panel.transformations ?? []).filter((config) => !config.disabled);
  const unknown = configs.filter((config) => !standardTransformersRegistry.getIfExists(config.id));
  if (unknown.length) {
    throw new Error(`no transformation ${unknown.map((config) => config.id)}`);
  }
  const transformed = configs.length
    ? await lastValueFrom(transformDataFrame(configs, frames, { interpolate: replaceVariables }))
    : await lastValueFrom(of(frames));
  const fields = applyFieldOverrides({
    data: transformed,
    fieldConfig,
    replaceVariables,
    theme,
    timeZone: 'utc',
    fieldConfigRegistry: registryFor(fieldConfig),
  });
  // Tables look there for what a column is called.
  cacheFieldDisplayNames(fields);
  return fields;
};
