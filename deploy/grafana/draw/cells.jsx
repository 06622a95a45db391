// Coloured cells over time, on Grafana's plot with its axes: heat map and state timeline.
import React, { useMemo } from 'react';
import * as chromatic from 'd3-scale-chromatic';
import { FieldType, colorManipulator, formattedValueToString, getFieldDisplayName, getValueFormat } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder, VizLegend } from '@grafana/ui';

const LEGEND_HEIGHT = 28;
const LABEL_HEIGHT = 16;
const STEPS = 64;
// Of one hue or from pale to strong: on a dark page they begin at the strong end, so that little is dark.
const FROM_PALE = /^(Blues|Greens|Greys|Oranges|Purples|Reds|[A-Z][a-z]([A-Z][a-z]){1,2})$/;

const plotFor = ({ rows, labels, times, timeRange, theme, paint }) => {
  const config = new UPlotConfigBuilder('utc');
  config.addScale({
    scaleKey: 'x',
    isTime: true,
    orientation: 0,
    direction: 1,
    range: () => [timeRange.from.valueOf(), timeRange.to.valueOf()],
  });
  config.addScale({ scaleKey: 'y', orientation: 1, direction: 1, range: () => [0, rows] });
  config.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', timeZone: 'utc', theme });
  config.addAxis({
    scaleKey: 'y',
    placement: 'left',
    theme,
    grid: { show: false },
    splits: labels.map(({ at }) => at),
    values: labels.map(({ text }) => text),
  });
  config.addSeries({ scaleKey: 'y', theme, pathBuilder: () => null, pointsBuilder: () => false, lineColor: 'transparent' });
  config.addHook('draw', (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    paint(ctx, (time) => plot.valToPos(time, 'x', true), (row) => plot.valToPos(row, 'y', true));
    ctx.restore();
  });
  return { config, data: [times, times.map(() => 0)] };
};

const palette = (color, theme) => {
  if (color.mode === 'opacity') {
    const fill = theme.visualization.getColorByName(color.fill ?? 'dark-orange');
    const exponent = color.exponent ?? 0.5;
    return Array.from({ length: STEPS }, (_, i) => colorManipulator.alpha(fill, ((i + 1) / STEPS) ** exponent));
  }
  const scheme = color.scheme ?? 'Oranges';
  const interpolate = chromatic[`interpolate${scheme}`];
  const backwards = Boolean(color.reverse) !== (theme.isDark && FROM_PALE.test(scheme));
  const steps = color.steps ?? STEPS;
  return Array.from({ length: steps }, (_, i) => interpolate(backwards ? 1 - i / (steps - 1) : i / (steps - 1)));
};

export const Heatmap = ({ panel, frames, width, height, timeRange, theme, nothing }) => {
  const options = panel.options ?? {};
  const frame = frames[0];
  const buckets = frame?.fields.filter((field) => field.type === FieldType.number) ?? [];
  const drawn = useMemo(() => {
    if (!buckets.length) {
      return null;
    }
    const times = frame.fields[0].values;
    const interval = frame.fields[0].config.interval ?? times[1] - times[0];
    const all = buckets.flatMap((field) => field.values).filter((value) => value > 0);
    const least = options.color?.min ?? 0;
    const most = options.color?.max ?? Math.max(...all, 1e-9);
    const colors = palette(options.color ?? {}, theme);
    const colorOf = (value) =>
      colors[Math.max(0, Math.min(colors.length - 1, Math.floor(((value - least) / (most - least)) * colors.length)))];
    const hideBelow = options.filterValues?.le ?? 1e-9;
    const unit = options.yAxis?.unit ?? panel.fieldConfig?.defaults?.unit ?? 'short';
    const format = (bound) => (unit === 'none' ? { text: String(bound) } : getValueFormat(unit)(bound));
    const every = Math.ceil((buckets.length * LABEL_HEIGHT) / Math.max(1, height - 60));
    // Its upper bound stands at the upper edge of a bucket.
    const labels = buckets
      .map((field, row) => ({ at: row + 1, text: field.name === '+Inf' ? '∞' : formattedValueToString(format(Number(field.name))) }))
      .filter((_, row) => (buckets.length - 1 - row) % every === 0);
    const gap = options.cellGap ?? 1;
    const paint = (ctx, x, y) =>
      buckets.forEach((field, row) =>
        field.values.forEach((value, i) => {
          if (value === null || value <= hideBelow) {
            return;
          }
          const left = x(times[i] - interval);
          ctx.fillStyle = colorOf(value);
          ctx.fillRect(left, y(row + 1), Math.max(1, x(times[i]) - left - gap), y(row) - y(row + 1) - gap);
        }),
      );
    return { ...plotFor({ rows: buckets.length, labels, times, timeRange, theme, paint }), colors, least, most };
  }, [frame, width, height]);
  if (!drawn) {
    return nothing;
  }
  const plain = getValueFormat(panel.fieldConfig?.defaults?.unit ?? 'short');
  const legend = options.legend?.show === false ? 0 : LEGEND_HEIGHT;
  return (
    <div style={{ width, height }}>
      <UPlotChart config={drawn.config} data={drawn.data} width={width} height={height - legend} />
      {legend ? (
        <div className="scale">
          <span>{formattedValueToString(plain(drawn.least))}</span>
          <i style={{ background: `linear-gradient(90deg, ${drawn.colors.join(', ')})` }} />
          <span>{formattedValueToString(plain(drawn.most))}</span>
        </div>
      ) : null}
    </div>
  );
};

export const StateTimeline = ({ panel, frames, width, height, timeRange, theme, nothing }) => {
  const rows = frames.flatMap((frame) =>
    frame.fields
      .filter((field) => field.type !== FieldType.time)
      .map((field) => ({
        name: getFieldDisplayName(field, frame, frames),
        times: frame.fields.find((one) => one.type === FieldType.time)?.values ?? [],
        field,
      })),
  );
  const drawn = useMemo(() => {
    if (!rows.length) {
      return null;
    }
    const labels = rows.map(({ name }, row) => ({ at: rows.length - row - 0.5, text: name }));
    const share = panel.options?.rowHeight ?? 0.9;
    const paint = (ctx, x, y) =>
      rows.forEach(({ field, times }, row) => {
        const interval = frames[0].fields[0].config.interval ?? 0;
        const middle = rows.length - row - 0.5;
        for (let from = 0, to; from < times.length; from = to) {
          to = from + 1;
          while (to < times.length && field.values[to] === field.values[from] && times[to] - times[to - 1] <= interval) {
            to += 1;
          }
          const shown = field.display(field.values[from]);
          const left = x(times[from]);
          const right = x(times[to - 1] + interval);
          const top = y(middle + share / 2);
          ctx.fillStyle = colorManipulator.alpha(shown.color, (field.config.custom?.fillOpacity ?? 70) / 100);
          ctx.fillRect(left, top, right - left, y(middle - share / 2) - top);
          const text = formattedValueToString(shown);
          ctx.fillStyle = theme.colors.getContrastText(shown.color);
          ctx.font = `${12 * devicePixelRatio}px Inter, sans-serif`;
          ctx.textAlign = 'left';
          ctx.textBaseline = 'middle';
          if (panel.options?.showValue !== 'never' && ctx.measureText(text).width + 8 < right - left) {
            ctx.fillText(text, left + 4, y(middle));
          }
        }
      });
    return plotFor({ rows: rows.length, labels, times: rows[0].times, timeRange, theme, paint });
  }, [frames, width, height]);
  if (!drawn) {
    return nothing;
  }
  const seen = new Map();
  rows.forEach(({ field }) =>
    field.values.forEach((value) => {
      const shown = field.display(value);
      seen.set(formattedValueToString(shown), shown.color);
    }),
  );
  const legend = panel.options?.legend?.showLegend === false ? 0 : LEGEND_HEIGHT;
  return (
    <div style={{ width, height }}>
      <UPlotChart config={drawn.config} data={drawn.data} width={width} height={height - legend} />
      {legend ? (
        <VizLegend
          placement="bottom"
          displayMode="list"
          items={[...seen].map(([label, color]) => ({ label, color, yAxis: 1 }))}
        />
      ) : null}
    </div>
  );
};
