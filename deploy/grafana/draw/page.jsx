// One dashboard as Grafana lays it out, from the JSON in `window.page`: the dashboard, and what Prometheus answered to each of its
// queries. Says in the console what it has drawn.
import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { EventBusSrv, ThemeContext, createTheme, dateTime } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PanelChrome, PanelContextProvider } from '@grafana/ui';
import 'uplot/dist/uPlot.min.css';
import '@grafana/react-data-grid/lib/styles.css';

import down from '@grafana/ui/dist/public/img/icons/unicons/arrow-down.svg';
import up from '@grafana/ui/dist/public/img/icons/unicons/arrow-up.svg';
import info from '@grafana/ui/dist/public/img/icons/unicons/info-circle.svg';
import './page.css';
import { fieldConfigOf, finished } from './fields.js';
import { framesOf } from './frames.js';
import { Nothing, PANELS } from './panels.jsx';

const { dashboard, variables, answers, from, to } = window.page;

// Grafana's grid: 24 columns, rows of 30 pixels, 8 between them.
const COLUMNS = 24;
const ROW = 30;
const GAP = 8;
const MARGIN = 16;
const column = (window.innerWidth - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;

const theme = createTheme({ colors: { mode: 'dark' } });
const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
const context = { eventsScope: 'draw', eventBus: new EventBusSrv(), sync: () => 0 };
const drawn = { panels: 0, empty: [], failed: [] };

// There is no server here that could give an icon: those that are seen come along, any other is a blank.
const ICONS = { 'arrow-down': down, 'arrow-up': up, 'info-circle': info };
const BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"></svg>';
window.fetch = async (address) => {
  const [, name] = /([^/]+)\.svg/.exec(address) ?? [];
  return new Response(ICONS[name] ?? BLANK, { headers: { 'content-type': 'image/svg+xml' } });
};

const replaceVariables = (text) =>
  String(text).replace(/\$\{?(\w+)(?::\w+)?\}?/g, (all, name) => {
    const value = variables[name];
    return value === undefined ? all : Array.isArray(value) ? value.join(' + ') : value;
  });

const fail = (title, error) => drawn.failed.push(`${title}: ${error.message}`);

class Guarded extends React.Component {
  state = { error: null };
  static getDerivedStateFromError = (error) => ({ error });
  componentDidCatch = (error) => fail(this.props.title, error);
  render = () => (this.state.error ? <Nothing text={String(this.state.error)} /> : this.props.children);
}

// Where an annotation begins: the first point of each unbroken run.
const marks = dashboard.annotations.list.flatMap((annotation) =>
  answers
    .filter((answer) => answer.query.kind === 'annotation' && answer.query.title === annotation.name)
    .flatMap((answer) =>
      answer.result.flatMap(({ values }) =>
        values
          .filter(([seconds], i) => i === 0 || (seconds - values[i - 1][0]) * 1000 > answer.step)
          .map(([seconds]) => ({ time: seconds * 1000, color: annotation.iconColor ?? 'blue' })),
      ),
    ),
);

const exemplarsOf = (panel) => answers.filter(({ query }) => query.panel === panel.id).flatMap(({ exemplars }) => exemplars ?? []);

const Panel = ({ panel, width, height }) => {
  const [ready, setReady] = useState(null);
  const kind = PANELS[panel.type];
  useEffect(() => {
    const load = async () => {
      if (!kind) {
        throw new Error(`no way to draw a panel of type ${panel.type}`);
      }
      const given = fieldConfigOf(panel, kind);
      const frames = await finished(panel, framesOf(panel, answers), { fieldConfig: given, theme, replaceVariables });
      if (!frames.some((frame) => frame.length) && panel.type !== 'text') {
        drawn.empty.push(panel.title);
      }
      setReady({ frames, fieldConfig: given });
    };
    load()
      .then(() => (drawn.panels += 1))
      .catch((error) => {
        fail(panel.title, error);
        setReady({ error });
      });
  }, []);
  const Draw = kind?.draw;
  return (
    <PanelChrome
      title={replaceVariables(panel.title ?? '')}
      description={panel.description}
      width={width}
      height={height}
      displayMode={panel.transparent ? 'transparent' : 'default'}
      padding={panel.type === 'table' ? 'none' : 'md'}
    >
      {(innerWidth, innerHeight) =>
        !ready ? null : ready.error ? (
          <Nothing text={String(ready.error)} />
        ) : (
          <Guarded title={panel.title}>
            <PanelContextProvider value={context}>
              <Draw
                {...ready}
                panel={panel}
                width={innerWidth}
                height={innerHeight}
                timeRange={timeRange}
                theme={theme}
                marks={marks}
                exemplars={exemplarsOf(panel)}
                nothing={<Nothing text={panel.fieldConfig?.defaults?.noValue ?? 'No data'} />}
                replaceVariables={replaceVariables}
              />
            </PanelContextProvider>
          </Guarded>
        )
      }
    </PanelChrome>
  );
};

const place = ({ x, y, w, h }) => ({
  left: x * (column + GAP),
  top: y * (ROW + GAP),
  width: w * (column + GAP) - GAP,
  height: h * (ROW + GAP) - GAP,
});

const Row = ({ row }) => (
  <h6>
    {row.collapsed ? '›' : '⌄'} {replaceVariables(row.title)}
    {row.collapsed && row.panels.length ? <small> ({row.panels.length} panels)</small> : null}
  </h6>
);

const shown = (variable) => {
  const current = [variable.current?.text ?? variable.current?.value ?? variables[variable.name]].flat();
  return current.join(' + ').replace('$__all', 'All');
};

const Header = () => (
  <header>
    <h1>{dashboard.title}</h1>
    {(dashboard.links ?? []).map((link) => (
      <b key={link.title}>{link.title}</b>
    ))}
    <time>
      {timeRange.from.utc().format('HH:mm:ss')} to {timeRange.to.utc().format('HH:mm:ss')} UTC
    </time>
    <div>
      {(dashboard.templating?.list ?? [])
        .filter((variable) => variable.hide !== 2 && variable.type !== 'datasource')
        .map((variable) => (
          <span key={variable.name}>
            <label>{variable.label || variable.name}</label>
            {shown(variable)}
          </span>
        ))}
    </div>
  </header>
);

const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));

const Page = () => (
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <main style={{ padding: MARGIN, color: theme.colors.text.primary }}>
      <Header />
      <section style={{ height: bottom * (ROW + GAP) }}>
        {dashboard.panels.map((panel) => {
          const { left, top, width, height } = place(panel.gridPos);
          return (
            <div key={panel.id} style={{ position: 'absolute', left, top, width, height }}>
              {panel.type === 'row' ? <Row row={panel} /> : <Panel panel={panel} width={width} height={height} />}
            </div>
          );
        })}
      </section>
    </main>
  </ThemeContext.Provider>
);

document.body.style.background = theme.colors.background.canvas;
await initPluginTranslations('grafana');
createRoot(document.getElementById('page')).render(<Page />);
setTimeout(() => console.log(`DRAWN ${JSON.stringify(drawn)}`), 4000);
