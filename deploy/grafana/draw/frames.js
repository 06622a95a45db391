// What Prometheus answered → data frames, in the forms that Grafana's Prometheus data source gives them.
import { FieldType, createDataFrame, renderLegendFormat } from '@grafana/data';

const number = (text) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

const written = (labels) => {
  const { __name__: name = '', ...rest } = labels;
  const inside = Object.entries(rest).map(([label, value]) => `${label}="${value}"`);
  return inside.length ? `${name}{${inside.join(', ')}}` : name || 'Value';
};

// A legend is a text with {{labels}} in it; "__auto" is the value of the only label, or all of them.
const legendOf = (target, labels, asked) => {
  const legend = target.legendFormat || '__auto';
  if (legend !== '__auto') {
    return renderLegendFormat(legend, labels);
  }
  const { __name__: _name, ...rest } = labels;
  const values = Object.values(rest);
  return values.length === 1 ? values[0] : values.length ? written(labels) : asked;
};

const curves = (target, answer) =>
  answer.result.map((series) => {
    const points = series.values ?? [series.value];
    return createDataFrame({
      refId: target.refId,
      name: legendOf(target, series.metric, answer.asked),
      fields: [
        {
          name: 'Time',
          type: FieldType.time,
          config: series.values ? { interval: answer.step } : {},
          values: points.map(([seconds]) => seconds * 1000),
        },
        {
          name: 'Value',
          type: FieldType.number,
          labels: series.metric,
          config: { displayNameFromDS: legendOf(target, series.metric, answer.asked) },
          values: points.map(([, value]) => number(value)),
        },
      ],
    });
  });

// One row a series (or a point of one), one column a label.
const table = (target, answer, alone) => {
  const labels = [...new Set(answer.result.flatMap((series) => Object.keys(series.metric)))].sort();
  const rows = answer.result.flatMap((series) =>
    (series.values ?? [series.value]).map(([seconds, value]) => ({ series, seconds, value })),
  );
  return [
    createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: rows.map((row) => row.seconds * 1000), config: {} },
        ...labels.map((label) => ({
          name: label,
          type: FieldType.string,
          config: { filterable: true },
          values: rows.map((row) => row.series.metric[label] ?? null),
        })),
        {
          name: alone ? 'Value' : `Value #${target.refId}`,
          type: FieldType.number,
          config: {},
          values: rows.map((row) => number(row.value)),
        },
      ],
    }),
  ];
};

// Cumulative buckets → how many fell into each: one frame, one field a bucket, from the least to the largest.
const heatmap = (target, answer) => {
  const series = [...answer.result].sort((a, b) => number(a.metric.le) - number(b.metric.le));
  const times = [...new Set(series.flatMap((one) => one.values.map(([seconds]) => seconds)))].sort((a, b) => a - b);
  const cumulative = series.map((one) => {
    const at = new Map(one.values.map(([seconds, value]) => [seconds, number(value)]));
    return times.map((time) => at.get(time) ?? null);
  });
  if (!series.length) {
    return [];
  }
  return [
    createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: answer.step }, values: times.map((t) => t * 1000) },
        ...series.map((one, index) => ({
          name: one.metric.le,
          type: FieldType.number,
          labels: one.metric,
          config: {},
          values: cumulative[index].map((value, at) =>
            value === null ? null : Math.max(0, value - (index ? (cumulative[index - 1][at] ?? 0) : 0)),
          ),
        })),
      ],
    }),
  ];
};

export const framesOf = (panel, answers) => {
  const shown = (panel.targets ?? []).filter((target) => !target.hide);
  return shown.flatMap((target) => {
    const answer = answers.find((one) => one.query.panel === panel.id && one.query.ref === (target.refId ?? 'A'));
    if (!answer) {
      return [];
    }
    if (target.format === 'table') {
      return answer.result.length ? table(target, answer, shown.length === 1) : [];
    }
    return target.format === 'heatmap' ? heatmap(target, answer) : curves(target, answer);
  });
};
