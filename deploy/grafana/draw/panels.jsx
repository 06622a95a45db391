// One component a panel type. What Grafana publishes of itself is used as it is; the two types that it does not publish, heat
// map and state timeline, are drawn on its plot (cells.jsx).
import React from 'react';
import {
  FieldType,
  VizOrientation,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  renderTextPanelMarkdown,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

import { Heatmap, StateTimeline } from './cells.jsx';

const NOTHING_CHOSEN = { calcs: ['lastNotNull'], fields: '', values: false };

export const Nothing = ({ text }) => <div className="nothing">{text}</div>;

const noValue = (panel) => panel.fieldConfig?.defaults?.noValue ?? 'No data';

const hasNumbers = (frames) =>
  frames.some((frame) => frame.length && frame.fields.some((field) => field.type === FieldType.number));

const valuesOf = ({ panel, frames, fieldConfig, theme, replaceVariables, timeRange }, sparkline) =>
  getFieldDisplayValues({
    data: frames,
    reduceOptions: { ...NOTHING_CHOSEN, ...panel.options?.reduceOptions },
    fieldConfig,
    replaceVariables,
    theme,
    sparkline,
    percentChange: panel.options?.showPercentChange ?? false,
    timeZone: 'utc',
  }).map((value) => (value.sparkline ? { ...value, sparkline: { ...value.sparkline, timeRange } } : value));

const repeated = ({ panel, frames, width, height }, values, renderValue, more) => (
  <VizRepeater
    getValues={() => values}
    getAlignmentFactors={getDisplayValueAlignmentFactors}
    renderValue={renderValue}
    width={width}
    height={height}
    source={frames}
    renderCounter={1}
    orientation={panel.options?.orientation ?? VizOrientation.Auto}
    {...more}
  />
);

const Stat = (props) => {
  const { panel, theme } = props;
  const options = { graphMode: 'area', colorMode: 'value', textMode: 'auto', justifyMode: 'auto', ...panel.options };
  const named = panel.fieldConfig?.defaults?.displayName;
  const values = valuesOf(props, options.graphMode !== 'none');
  return repeated(
    props,
    values,
    ({ value, width, height, alignmentFactors, count }) => (
      <BigValue
        value={value.display}
        sparkline={value.sparkline}
        count={count}
        colorMode={options.colorMode}
        graphMode={options.graphMode}
        justifyMode={options.justifyMode}
        textMode={options.textMode === 'auto' && named ? 'value_and_name' : options.textMode}
        alignmentFactors={alignmentFactors}
        text={options.text}
        percentChangeColorMode={options.percentChangeColorMode}
        disableWideLayout={options.wideLayout === false}
        width={width}
        height={height}
        theme={theme}
      />
    ),
    { itemSpacing: 3, autoGrid: true },
  );
};

const Bars = (props) => {
  const { panel, theme } = props;
  const options = { displayMode: 'gradient', valueMode: 'color', namePlacement: 'auto', showUnfilled: true, ...panel.options };
  return repeated(
    props,
    valuesOf(props, false),
    ({ value, width, height, orientation, alignmentFactors }) => (
      <BarGauge
        value={value.display}
        field={value.field}
        display={value.view?.getFieldDisplayProcessor(value.colIndex)}
        orientation={orientation}
        displayMode={options.displayMode}
        valueDisplayMode={options.valueMode}
        namePlacement={options.namePlacement}
        showUnfilled={options.showUnfilled}
        alignmentFactors={alignmentFactors}
        itemSpacing={options.displayMode === 'lcd' ? 2 : 10}
        text={options.text}
        width={width}
        height={height}
        theme={theme}
      />
    ),
    {
      itemSpacing: options.displayMode === 'lcd' ? 2 : 10,
      minVizWidth: options.minVizWidth ?? 8,
      minVizHeight: options.minVizHeight ?? 16,
      maxVizHeight: options.maxVizHeight ?? 300,
    },
  );
};

const marked = new WeakSet();

const DIAMOND = 5;

// What Grafana's own layers draw: a line where an annotation begins, a diamond for an exemplar.
const withMarks = (config, marks, exemplars, theme) => {
  if (marked.has(config)) {
    return;
  }
  marked.add(config);
  config.addHook('draw', (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.setLineDash([5, 3]);
    ctx.lineWidth = 2;
    marks.forEach(({ time, color }) => {
      const x = plot.valToPos(time, 'x', true);
      ctx.strokeStyle = theme.visualization.getColorByName(color);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    });
    const { scale } = plot.series[1];
    ctx.fillStyle = theme.visualization.getColorByName('green');
    exemplars.forEach(({ at, value }) => {
      const x = plot.valToPos(at * 1000, 'x', true);
      const y = plot.valToPos(value, scale, true);
      if (y < bbox.top || y > bbox.top + bbox.height) {
        return;
      }
      ctx.beginPath();
      ctx.moveTo(x, y - DIAMOND);
      ctx.lineTo(x + DIAMOND, y);
      ctx.lineTo(x, y + DIAMOND);
      ctx.lineTo(x - DIAMOND, y);
      ctx.fill();
    });
    ctx.restore();
  });
};

// What is no number is a gap, and so is a step at which there is nothing: no straight line goes across either.
const withGaps = (frame) => {
  const time = frame.fields.find((field) => field.type === FieldType.time);
  const rows = [];
  time.values.forEach((at, i) => {
    for (let missing = time.values[i - 1] + time.config.interval; missing < at; missing += time.config.interval) {
      rows.push([missing, null]);
    }
    rows.push([at, i]);
  });
  const fields = frame.fields.map((field) => ({
    ...field,
    values: rows.map(([at, i]) => {
      const value = i === null ? null : field.values[i];
      return field === time ? at : field.type !== FieldType.number || Number.isFinite(value) ? value : null;
    }),
  }));
  return { ...frame, length: rows.length, fields };
};

const Curves = ({ panel, frames, width, height, timeRange, theme, marks, exemplars }) => {
  if (!hasNumbers(frames)) {
    return <Nothing text={noValue(panel)} />;
  }
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [], ...panel.options?.legend };
  return (
    <TimeSeries
      frames={frames.map(withGaps)}
      structureRev={1}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={legend}
      options={panel.options}
    >
      {(config) => {
        withMarks(config, marks, exemplars, theme);
        return null;
      }}
    </TimeSeries>
  );
};

const Table = ({ panel, frames, width, height, timeRange, fieldConfig }) => {
  const frame = frames[0];
  if (!frame?.length) {
    return <Nothing text={noValue(panel)} />;
  }
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      timeRange={timeRange}
      fieldConfig={fieldConfig}
      cellHeight={panel.options?.cellHeight}
      noHeader={panel.options?.showHeader === false}
      sortBy={panel.options?.sortBy}
      structureRev={1}
      enableVirtualization={false}
      disableKeyboardEvents
    />
  );
};

const Text = ({ panel, replaceVariables }) => {
  const text = replaceVariables(panel.options?.content ?? '');
  const html = panel.options?.mode === 'html' ? text : renderTextPanelMarkdown(text);
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
};

const CURVE = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  showPoints: 'auto',
  pointSize: 5,
  spanNulls: false,
  axisPlacement: 'auto',
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
};

// Type → what draws it, the colours that it has where none are set, and its own options where none are set.
export const PANELS = {
  stat: { draw: Stat, color: 'thresholds' },
  bargauge: { draw: Bars, color: 'thresholds' },
  timeseries: { draw: Curves, color: 'palette-classic', custom: CURVE },
  table: { draw: Table, color: 'thresholds', custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false } },
  text: { draw: Text, color: 'thresholds' },
  heatmap: { draw: Heatmap, color: 'thresholds' },
  'state-timeline': { draw: StateTimeline, color: 'thresholds', custom: { fillOpacity: 70, lineWidth: 0 } },
};
