"use strict";
// Shows the page's data. Whatever comes from the data reaches the screen as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const Plot = window.Plot;

  // Elements, numbers

  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  const grouped = (value) => Math.round(value).toLocaleString("en-US");
  function compact(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    for (const [unit, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (size >= unit) return trimmed((value / unit).toPrecision(3)) + letter;
    return trimmed(String(Number(value.toPrecision(3))));
  }
  const trimmed = (text) => (text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text);
  const fixed = (value, digits = 3) =>
    value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
  const signed = (value, digits = 3) => (value > 0 ? "+" : "") + fixed(value, digits);
  const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : (100 * value).toFixed(digits) + "%");
  function number(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("-", "−");
    return fixed(value, size >= 100 ? 1 : size >= 1 ? 3 : 4);
  }
  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 90) return fixed(seconds, 1) + " s";
    if (seconds < 5400) return fixed(seconds / 60, 1) + " min";
    return fixed(seconds / 3600, 2) + " h";
  }

  // Text of others: control characters and marks of direction show what they are.

  function visible(text) {
    return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g, (character) => {
      const code = character.codePointAt(0);
      if (code < 32) return String.fromCodePoint(0x2400 + code);
      return code === 127 ? "\u2421" : "[U+" + code.toString(16).toUpperCase().padStart(4, "0") + "]";
    });
  }
  const shortened = (text, length) => (text.length > length ? text.slice(0, length - 1) + "\u2026" : text);
  const quoted = (text) => visible(JSON.stringify(text));

  // Charts: drawn anew when their place has another width

  const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a6ad8", "#8c8c8c"];
  const watch = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const draw = entry.target.draw;
      const width = Math.floor(entry.contentRect.width);
      if (draw && width > 40 && Math.abs(width - (entry.target.drawnWidth || 0)) > 4) {
        entry.target.drawnWidth = width;
        entry.target.replaceChildren(draw(width));
      }
    }
  });
  function chart(label, options) {
    const place = el("div", { class: "chart" });
    place.draw = (width) => {
      const plot = Plot.plot({
        width,
        height: Math.min(320, Math.max(220, width * 0.6)),
        marginLeft: 52,
        style: { background: "none", fontSize: "12px", fontFamily: "inherit", color: "currentColor" },
        ...(typeof options === "function" ? options(width) : options),
      });
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", label);
      return plot;
    };
    watch.observe(place);
    return el("figure", { class: "chart" }, el("h3", {}, label), place);
  }

  // Tables: sorted by the buttons in their heads

  function table(columns, rows, { sort = null, descending = false, caption = null } = {}) {
    const body = el("tbody", {});
    const heads = columns.map((column) =>
      el("th", { scope: "col", class: column.numeric ? "number" : column.wide ? "wide" : null },
        column.value === undefined ? column.label : el("button", { type: "button", onclick: () => order(column) }, column.label)));
    let state = { key: null, descending: false };
    function show(sorted) {
      body.replaceChildren(...sorted.map((row) => el("tr", {}, columns.map((column) => {
        const shown = column.show ? column.show(row) : column.value(row);
        return el("td", { class: column.numeric ? "number" : column.isName ? "name" : null }, shown === null || shown === undefined ? "–" : shown);
      }))));
    }
    function order(column, down) {
      const isDown = down !== undefined ? down : state.key === column.key ? !state.descending : Boolean(column.numeric);
      state = { key: column.key, descending: isDown };
      heads.forEach((head, place) => {
        if (columns[place].key === column.key) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      const of = (row) => column.value(row);
      show([...rows].sort((a, b) => {
        const [x, y] = [of(a), of(b)];
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return (x < y ? -1 : 1) * (isDown ? -1 : 1);
      }));
    }
    const node = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || "table" },
      el("table", {}, el("thead", {}, el("tr", {}, heads)), body));
    const first = columns.find((column) => column.key === sort);
    if (first) order(first, descending); else show(rows);
    return node;
  }

  // Sections

  const sections = [];
  function section(id, title, short, ...children) {
    const node = el("section", { id, "aria-labelledby": id + "-title" }, el("h2", { id: id + "-title" }, title), ...children);
    sections.push([id, short]);
    main.append(node);
    return node;
  }
  const note = (text) => el("p", { class: "note" }, text);

  // 1 Verdict

  function showTop() {
    const top = document.getElementById("top");
    const sentence = data.verdict && data.verdict.sentence;
    if (sentence) top.append(el("p", { class: "title" }, visible(data.title)));
    top.append(el("h1", {}, visible(sentence || data.heading || data.title)));
    if (data.verdict) {
      for (const line of data.verdict.more || []) top.append(el("p", { class: "note" }, visible(line)));
      const others = data.verdict.others || [];
      if (others.length) top.append(el("details", {}, el("summary", {}, `${others.length} more verdict${others.length > 1 ? "s" : ""}: other trainings and evaluations`), others.map((line) => el("p", { class: "note" }, visible(line)))));
      top.append(el("div", { class: "cards", id: "cards" }, data.verdict.cards.map((card) =>
        el("div", { class: "card" }, el("b", {}, card.value), el("span", {}, visible(card.label)), card.detail ? el("i", {}, visible(card.detail)) : null))));
    }
    if (data.downloads)
      top.append(el("div", { class: "downloads" }, Object.entries(data.downloads).map(([name, text]) => {
        const kind = name.endsWith(".md") ? "text/markdown" : "text/plain";
        return el("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: kind + ";charset=utf-8" })) }, "\u2193 " + name);
      })));
  }

  // 2 Did it help

  function showHelped() {
    const helped = data.helped;
    if (!helped) return;
    const node = section("helped", "Did it help?", "Did it help");
    const columns = [
      { key: "name", label: "model", isName: true, value: (row) => row.name },
      { key: "seeds", label: "seeds", numeric: true, value: (row) => row.seeds },
      ...helped.measures.flatMap((measure) => [{
        key: measure.key, label: measure.label, numeric: true,
        value: (row) => (row.values[measure.key] ? row.values[measure.key].mean : null),
        show: (row) => {
          const cell = row.values[measure.key];
          if (!cell) return null;
          return number(cell.mean) + (cell.sd === null ? "" : " ± " + number(cell.sd));
        },
      }, ...helped.compared.filter((other) => helped.rows.some((row) => (row.values[measure.key] || { changes: {} }).changes[other.name])).map((other) => {
        const of = (row) => (row.values[measure.key] || { changes: {} }).changes[other.name];
        return { key: measure.key + " " + other.name, label: other.label, numeric: true, value: (row) => (of(row) ? of(row).value : null), show: (row) => (of(row) ? of(row).text : null) };
      })]),
    ];
    node.append(table(columns, helped.rows, { caption: "models by measures" }));
    node.append(note(helped.note));
    const grid = el("div", { class: "grid" });
    for (const change of helped.changes) grid.append(changeChart(change));
    if (data.trainings && Object.keys(data.trainings).length) grid.append(trainingChart());
    node.append(grid);
  }

  function changeChart(change) {
    const models = [...new Set(change.points.map((point) => point.model))];
    const facets = models.length > 6;
    const color = { domain: models, range: models.map((_, place) => palette[place % palette.length]) };
    const ends = models.map((model) => change.points.filter((point) => point.model === model).at(-1));
    return chart(change.title, (width) => ({
      height: facets ? Math.max(260, models.length * 46) : 300,
      marginRight: facets ? 140 : Math.min(150, width * 0.28),
      marginLeft: 56,
      x: { label: change.x_label, type: change.is_log ? "log" : "linear", ticks: 5 },
      y: { label: change.y_label, grid: true, ticks: facets ? 2 : 6 },
      fy: facets ? { label: null, axis: "right", domain: models } : undefined,
      color,
      marks: [
        Plot.ruleY([0], { stroke: "currentColor" }),
        change.short_context ? Plot.ruleX([change.short_context], { stroke: "currentColor", strokeDasharray: "4 3" }) : null,
        change.short_context && !facets ? Plot.text([change.short_context], { x: (d) => d, frameAnchor: "bottom", text: () => "short context", textAnchor: "start", dx: 4, dy: -4, fill: "currentColor" }) : null,
        Plot.areaY(change.points, { x: "x", y1: "low", y2: "high", fill: "model", fillOpacity: 0.18, fy: facets ? "model" : undefined }),
        Plot.lineY(change.points, { x: "x", y: "mean", stroke: "model", fy: facets ? "model" : undefined, strokeWidth: 2 }),
        Plot.dot(change.points, { x: "x", y: "mean", fill: "model", r: 2.5, fy: facets ? "model" : undefined, title: (d) => `${d.model}\n${d.x}: ${signed(d.mean)} [${signed(d.low)}, ${signed(d.high)}]` }),
        facets ? null : Plot.text(spreadLabels(ends), { x: "x", y: "mean", text: "model", fill: "model", textAnchor: "start", dx: 6, dy: 0 }),
      ].filter(Boolean),
    }));
  }
  // Labels at lines' ends, moved apart where they would lie on each other.
  function spreadLabels(ends) {
    const sorted = [...ends].sort((a, b) => a.mean - b.mean);
    const span = Math.max(...ends.map((end) => end.high), 0) - Math.min(...ends.map((end) => end.low), 0) || 1;
    let last = -Infinity;
    return sorted.map((end) => {
      const mean = Math.max(end.mean, last + span * 0.055);
      last = mean;
      return { ...end, mean };
    });
  }

  function trainingChart() {
    const points = [];
    for (const [name, training] of Object.entries(data.trainings)) {
      const group = name.replace(/\/seed\d+$/, "");
      training.curve.step.forEach((step, place) => points.push({ name, group, step, loss: training.curve.loss_unweighted[place] }));
    }
    const groups = [...new Set(points.map((point) => point.group))];
    const means = Object.values(Object.groupBy ? Object.groupBy(points, (d) => d.group + "\u0000" + d.step) : grouping(points, (d) => d.group + "\u0000" + d.step))
      .map((part) => ({ group: part[0].group, step: part[0].step, mean: mean(part), low: Math.min(...part.map((d) => d.loss)), high: Math.max(...part.map((d) => d.loss)) }))
      .sort((a, b) => a.step - b.step);
    const ends = groups.map((group) => means.filter((d) => d.group === group).at(-1));
    const facets = groups.length > 8;
    return chart("Training: plain cross-entropy by update (line: mean of the seeds, band: their range)", (width) => ({
      height: 300, marginRight: facets ? 20 : Math.min(150, width * 0.28),
      x: { label: "update", ticks: 5, tickFormat: (d) => (Number.isInteger(d) ? compact(d) : "") }, y: { label: "nats a token", grid: true },
      color: { domain: groups, range: groups.map((_, place) => palette[place % palette.length]) },
      marks: [
        Plot.areaY(means, { x: "step", y1: "low", y2: "high", fill: "group", fillOpacity: 0.2 }),
        Plot.lineY(means, { x: "step", y: "mean", stroke: "group", strokeWidth: 2, title: "group", tip: facets }),
        facets ? null : Plot.text(spreadLabels(ends), { x: "step", y: "mean", text: "group", fill: "group", textAnchor: "start", dx: 6 }),
      ].filter(Boolean),
    }));
  }
  const mean = (part) => part.reduce((sum, d) => sum + d.loss, 0) / part.length;
  function grouping(rows, key) {
    const found = {};
    for (const row of rows) (found[key(row)] ||= []).push(row);
    return found;
  }

  // 3 Funnel

  function showFunnel() {
    if (!data.funnel || !data.funnel.length) return;
    const node = section("funnel", "What went in, and what was left out", "Funnel");
    for (const funnel of data.funnel) {
      const largest = Math.max(...funnel.categories.map((row) => Math.max(row.tokens, row.cut)), 10);
      const bar = (value) => {
        const shown = el("span", {}, compact(value), el("span", { class: "bar" }));
        shown.lastChild.style.width = Math.max(1, (Math.log10(value + 1) / Math.log10(largest + 1)) * 5.5) + "rem";
        return shown;
      };
      const step = (key, label, of) => ({ key, label, numeric: true, value: of, show: (row) => bar(of(row)) });
      const total = { name: "all", sources: [], kept: {} };
      for (const key of ["documents", "tokens", "held_out", "cut", "drawn"])
        total[key] = funnel.categories.reduce((sum, row) => sum + row[key], 0);
      for (const name of funnel.selections) total.kept[name] = funnel.categories.reduce((sum, row) => sum + row.kept[name], 0);
      node.append(el("h3", {}, funnel.windowing + ": tokens at each step, by source"));
      node.append(table([
        { key: "name", label: "source", wide: true, value: (row) => row.name, show: (row) => el("span", {}, el("b", {}, visible(row.name)), row.sources.length ? el("span", { class: "note quote", title: visible(row.sources.join("; ")) }, el("br", {}), visible(shortened(row.sources.join("; "), 70))) : null) },
        { key: "documents", label: "documents", numeric: true, value: (row) => row.documents, show: (row) => grouped(row.documents) },
        step("tokens", "in documents", (row) => row.tokens),
        step("cut", "cut into windows", (row) => row.cut),
        step("drawn", "drawn", (row) => row.drawn),
        ...funnel.selections.map((name) => step("kept " + name, "kept by " + name, (row) => row.kept[name])),
        { key: "held_out", label: "held out", numeric: true, value: (row) => row.held_out, show: (row) => compact(row.held_out) },
      ], [...funnel.categories, ...(funnel.categories.length > 1 ? [total] : [])], { caption: "tokens by source" }));
      node.append(note("Bars are on a log scale. Windows may overlap, so that they can hold more tokens than the documents."));
      node.append(el("h3", {}, "What was dropped, and why"));
      if (!funnel.reasons.length) node.append(note("No document was dropped."));
      for (const reason of funnel.reasons)
        node.append(el("details", {},
          el("summary", {}, el("b", {}, visible(reason.name)), ` · ${grouped(reason.documents)} documents, ${compact(reason.characters || 0)} characters` + (reason.tokens ? `, ${compact(reason.tokens)} tokens` : "")),
          table([
            { key: "title", label: "document", value: (row) => row.title, show: (row) => el("span", { class: "quote" }, visible(row.title)) },
            { key: "category", label: "source", value: (row) => row.category, show: (row) => visible(row.category) },
            { key: "detail", label: "why", value: (row) => row.detail, show: (row) => el("span", { class: "quote" }, visible(row.detail || reason.name)) },
          ], reason.examples, { caption: "examples" })));
      node.append(note("Which windows a selection dropped, and why, is in the next section."));
    }
  }

  // 4 Selection

  const embedded = new Map((data.reader ? data.reader.windows : []).map((window) => [window.id, window]));
  const hashOf = (id) => "#window=" + encodeURIComponent(id);
  const readLink = (id, text) => (embedded.has(id) ? el("a", { href: hashOf(id) }, text) : text);

  function showSelections() {
    const selections = new Map((data.selections || []).map((selection) => [selection.name, selection]));
    const names = [...selections.keys()];
    if (!names.length) return;
    const node = section("selection", "Why windows were kept", "Selection");
    const place = el("div", {});
    const choose = el("select", { id: "selection-choice", onchange: () => show(choose.value) }, names.map((name) => el("option", { value: name }, name)));
    node.append(el("div", { class: "bar-of-controls" }, el("label", {}, "selection", choose)), place);
    const show = (name) => place.replaceChildren(...selectionParts(name, selections.get(name)));
    show(names[0]);
    if (data.overlaps && data.overlaps.length)
      node.append(el("h3", {}, "How far the selections agree"), table([
        { key: "a", label: "selection", value: (row) => row.a },
        { key: "b", label: "and", value: (row) => row.b },
        { key: "both", label: "kept by both", numeric: true, value: (row) => row.both, show: (row) => grouped(row.both) },
        { key: "either", label: "kept by either", numeric: true, value: (row) => row.either, show: (row) => grouped(row.either) },
        { key: "share", label: "overlap", numeric: true, value: (row) => (row.either ? row.both / row.either : 0), show: (row) => percent(row.either ? row.both / row.either : 0) },
      ], data.overlaps, { sort: "share", descending: true, caption: "overlap of selections" }));
  }

  function selectionParts(name, selection) {
    const uses = [...selection.runs.map((run) => "run " + run), ...selection.exports.map((one) => "export " + one)];
    const parts = [note(`${grouped(selection.kept)} of ${grouped(selection.windows)} windows kept, by ${selection.label}; keep: ${JSON.stringify(selection.keep).replace(/["{}]/g, "").replace(/:/g, ": ")}. ` +
      (uses.length ? "Used by " + uses.join(", ") + "." : "For comparison; nothing is trained on it."))];
    const grid = el("div", { class: "grid" });
    if (selection.axes.length === 2) grid.append(mapChart(selection));
    grid.append(scoreChart(selection));
    parts.push(grid, el("h3", {}, "The best, those at the cut, and the worst"));
    const filter = el("select", { "aria-label": "which windows" }, ["all", "top", "border", "bottom"].map((part) => el("option", { value: part }, part === "border" ? "at the cut" : part)));
    const rows = el("div", {});
    const list = () => rows.replaceChildren(table([
      { key: "rank", label: "rank", numeric: true, value: (row) => row.rank, show: (row) => grouped(row.rank) },
      { key: "kept", label: "kept", value: (row) => (row.kept ? 0 : 1), show: (row) => el("span", { class: row.kept ? "tag kept" : "tag" }, row.kept ? "kept" : "dropped") },
      { key: "title", label: "window", wide: true, value: (row) => row.title, show: (row) => el("span", {}, readLink(row.data_id, visible(row.title)), el("span", { class: "note quote" }, el("br", {}), el("span", { class: "id" }, row.data_id), " ", visible(row.begins.slice(0, 90).replace(/\s+/g, " ")))) },
      { key: "category", label: "source", value: (row) => row.category, show: (row) => visible(row.category) },
      { key: "score", label: "score", numeric: true, value: (row) => row.score, show: (row) => number(row.score) },
      { key: "percentile", label: "percentile", numeric: true, value: (row) => row.percentile, show: (row) => fixed(row.percentile, 1) },
      ...selection.axes.map((axis) => ({ key: axis.name, label: axis.name.replace(/_/g, " "), numeric: true, value: (row) => row.numbers[axis.name], show: (row) => number(row.numbers[axis.name]) })),
      { key: "reason", label: "why", wide: true, value: (row) => row.reason, show: (row) => el("span", { class: "note" }, visible(row.reason)) },
    ], selection.rows.filter((row) => filter.value === "all" || row.part === filter.value), { sort: "rank", caption: "windows of " + name }));
    filter.addEventListener("change", list);
    list();
    parts.push(el("div", { class: "bar-of-controls" }, el("label", {}, "show", filter)), rows);
    return parts;
  }

  function mapChart(selection) {
    const [x, y] = selection.axes;
    const categories = selection.categories.map((category) => category.name);
    const color = { domain: categories, range: categories.map((_, place) => palette[place % palette.length]) };
    const label = `${x.label} by ${y.label}`;
    if (selection.dots) {
      const dots = selection.dots.map(([a, b, kept, category, id]) => ({ a, b, kept, category: categories[category], id }));
      const [low, high] = [Math.min(...dots.map((d) => d.a)), Math.max(...dots.map((d) => d.a))];
      return chart(label, {
        height: 330, x: { label: x.label + " \u2192", ticks: 5 }, y: { label: "\u2191 " + y.label, grid: true, tickFormat: "~e" }, color: { ...color, legend: categories.length > 1 && categories.length < 9 },
        marks: [
          ...cutLines(selection, low, high, true),
          Plot.dot(dots.filter((d) => !d.kept), { x: "a", y: "b", stroke: "category", r: 4, href: (d) => (embedded.has(d.id) ? hashOf(d.id) : null), title: (d) => `${d.id}: dropped` }),
          Plot.dot(dots.filter((d) => d.kept), { x: "a", y: "b", fill: "category", stroke: "currentColor", strokeWidth: 2, r: 6, href: (d) => (embedded.has(d.id) ? hashOf(d.id) : null), title: (d) => `${d.id}: kept` }),
        ],
      });
    }
    const { bounds, side, cells } = selection.cells;
    const at = (axis, place) => bounds[axis][0] + ((place + 0.5) / side) * (bounds[axis][1] - bounds[axis][0]);
    const points = cells.map(([a, b, windows, kept]) => ({ a: at(0, a), b: at(1, b), windows, kept }));
    const share = (rows) => rows.reduce((sum, d) => sum + d.kept, 0) / rows.reduce((sum, d) => sum + d.windows, 0);
    return chart(label + " (size: windows, colour: share kept)", (width) => ({
      height: 340, x: { label: x.label + " \u2192", ticks: 5, domain: bounds[0] }, y: { label: "\u2191 " + y.label, grid: true, tickFormat: "~e", domain: bounds[1] },
      color: { scheme: "cividis", domain: [0, 1], legend: true, label: "share kept", tickFormat: "%", ticks: 3 }, r: { range: [1, Math.max(5, width / 52)] },
      marks: [
        Plot.hexagon(points, Plot.hexbin({ fill: share, r: (rows) => rows.reduce((sum, d) => sum + d.windows, 0), title: (rows) => `${grouped(rows.reduce((sum, d) => sum + d.windows, 0))} windows, ${percent(share(rows))} kept` }, { x: "a", y: "b", binWidth: Math.max(10, width / 26), stroke: "currentColor", strokeOpacity: 0.25 })),
        ...cutLines(selection, ...bounds[0], false),
        Plot.dot(selection.rows, { x: (d) => d.numbers[x.name], y: (d) => d.numbers[y.name], stroke: "currentColor", r: 3, clip: true, href: (d) => (embedded.has(d.data_id) ? hashOf(d.data_id) : null), title: (d) => `${d.data_id}: ${d.kept ? "kept" : "dropped"}, rank ${d.rank}` }),
      ],
    }));
  }
  function cutLines(selection, low, high, coloured) {
    return selection.categories.filter((category) => category.line && category.line[1] !== 0).map((category) => {
      const [a, b, c] = category.line;
      const ends = [low, high].map((x) => ({ x, y: (c - a * x) / b, category: category.name }));
      return Plot.line(ends, { x: "x", y: "y", stroke: coloured ? "category" : "currentColor", strokeDasharray: "5 4", clip: true, title: () => "cut of " + category.name });
    });
  }

  function scoreChart(selection) {
    const { low, high, kept, dropped } = selection.scores;
    const step = (high - low) / kept.length;
    const bars = kept.flatMap((count, place) => [["dropped", dropped[place]], ["kept", count]].map(([what, windows]) => ({ what, windows, x1: low + place * step, x2: low + (place + 1) * step })));
    const cuts = selection.categories.filter((category) => category.cut !== undefined);
    return chart("Scores: " + selection.label, {
      height: 300, x: { label: selection.label + " \u2192", ticks: 5 }, y: { label: "windows", grid: true, ticks: 5 },
      color: { domain: ["dropped", "kept"], range: ["var(--dropped)", "var(--kept)"], legend: true },
      marks: [
        Plot.rectY(bars.filter((bar) => bar.windows), Plot.stackY({ x1: "x1", x2: "x2", y: "windows", fill: "what", title: (d) => `${d.windows} ${d.what}`, inset: 0.3 })),
        Plot.ruleX(cuts, { x: "cut", stroke: "currentColor", strokeDasharray: "5 4", title: (d) => "cut of " + d.name }),
        ...(cuts.length <= 8 ? cuts.map((cut, place) => Plot.text([cut], { x: "cut", text: () => "cut of " + cut.name, frameAnchor: "top", textAnchor: cut.cut > (low + high) / 2 ? "end" : "start", dx: cut.cut > (low + high) / 2 ? -5 : 5, dy: place * 13, stroke: "var(--ground)", strokeWidth: 3, fill: "currentColor", fontSize: 11 })) : []),
        Plot.ruleY([0], { stroke: "currentColor" }),
      ].filter(Boolean),
    });
  }

  // 5 A window

  const GAINS = [0.05, 0.25, 0.75, 1.5];
  const WEIGHTS = [0.1, 0.75, 1.25, 2, 4];
  const gainClass = (gain) => {
    const level = GAINS.filter((edge) => Math.abs(gain) >= edge).length;
    return level === 0 ? "" : (gain > 0 ? "g" : "h") + level;
  };
  const weightClass = (weight) => "w" + WEIGHTS.filter((edge) => weight >= edge).length;

  async function unpack(window) {
    const packed = Uint8Array.from(atob(window.block), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    let place = 0;
    const take = (count) => bytes.subarray(place, (place += count));
    const planes = (count) => {
      const [high, low] = [take(count), take(count)];
      return Uint16Array.from(high, (value, index) => value * 256 + low[index]);
    };
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(take(window.text));
    const lengths = planes(window.tokens);
    const found = { text, lengths, losses: {} };
    if (window.scored) {
      found.short = Float32Array.from(planes(window.tokens - 1), (value) => value / 100);
      found.long = Float32Array.from(planes(window.tokens - 1), (value) => value / 100);
      for (const loss of window.losses) {
        const levels = take(window.tokens - 1);
        const [low, high] = loss.scale;
        found.losses[loss.name] = Float32Array.from(levels, (level) => (level === 0 ? 0 : Math.exp(low + ((level - 1) / 254) * (high - low))));
      }
    }
    return found;
  }

  function showReader() {
    const reader = data.reader;
    if (!reader || !reader.windows.length) return;
    const node = section("reader", "Read a window", "Read a window");
    const about = el("div", {});
    const text = el("div", { class: "window", tabindex: "0", role: "group", id: "window-text", "aria-label": "the window's text; arrow keys go from token to token" });
    const panel = el("div", { class: "token", "aria-live": "polite", id: "token" }, "Point at a token, or go through the text with the arrow keys.");
    const groups = { "kept and scored": [], "dropped and scored": [], "text alone": [] };
    for (const window of reader.windows)
      groups[!window.scored ? "text alone" : window.kept_by && window.kept_by.length ? "kept and scored" : "dropped and scored"].push(window);
    const choose = el("select", { id: "window-choice" }, Object.entries(groups).filter(([, windows]) => windows.length).map(([name, windows]) =>
      el("optgroup", { label: `${name} (${windows.length})` }, windows.map((window) => el("option", { value: window.id }, visible(`${window.title} · ${window.category} · ${window.id}`).slice(0, 110))))));
    const losses = el("select", { id: "loss-choice" });
    const jump = (label, sign) => el("button", { type: "button", class: "plain", id: sign > 0 ? "most-helped" : "most-hurt", onclick: () => next(sign) }, label);
    node.append(
      el("p", {}, "Colour is the gain of the long context on each token, the NLL in the short context minus that in the long one. The underline is the token's weight in the loss."),
      el("div", { class: "bar-of-controls" }, el("label", {}, "window", choose), el("label", {}, "weights of the loss", losses), jump("Next most helped", 1), jump("Next most hurt", -1)),
      legend(), about, text, panel);

    let shown = null;
    async function show(id) {
      const window = embedded.get(id) || reader.windows[0];
      choose.value = window.id;
      const content = await unpack(window);
      shown = { window, content, nodes: [], here: null, ranks: { 1: null, "-1": null }, place: { 1: -1, "-1": -1 } };
      const before = losses.value;
      losses.replaceChildren(...window.losses.map((loss) => {
        const block = reader.losses[loss.name] || {};
        const use = block.is_used === null || block.is_used === undefined ? "published, not in these settings" : block.is_used ? "trained with" : "in the settings";
        return el("option", { value: loss.name }, `${loss.name} · ${block.label || ""} · ${use}`);
      }));
      if (window.losses.some((loss) => loss.name === before)) losses.value = before;
      losses.disabled = !window.losses.length;
      write();
      describe();
    }

    function describe() {
      const { window, content } = shown;
      const loss = window.losses.find((one) => one.name === losses.value);
      const facts = [["window", el("span", { class: "id" }, window.id)], ["from", el("span", { class: "quote" }, visible(`${window.title} (${window.category})`))]];
      const reasons = (data.selections || []).flatMap((selection) => {
        const row = selection.rows.find((one) => one.data_id === window.id);
        return row ? [el("div", {}, el("b", {}, selection.name), ": " + visible(row.reason))] : [];
      });
      const kept = (window.kept_by || []).join(", ");
      if (reasons.length) facts.push(["kept by", el("details", {}, el("summary", {}, (kept || "no selection") + " (why)"), ...reasons)]);
      else if (window.kept_by) facts.push(["kept by", kept || "no selection"]);
      else if (window.why) facts.push(["why", visible(window.why)]);
      if (window.scored) {
        let hurt = 0;
        for (let entry = 0; entry < content.short.length; entry++) if (content.short[entry] < content.long[entry]) hurt++;
        facts.push(["gain", `${signed(window.short - window.long)} nats a token (short ${fixed(window.short)}, long ${fixed(window.long)}); the long context hurts ${percent(hurt / content.short.length, 0)} of the tokens` + (shown.first > 2 ? `; before position ${grouped(shown.first)} both contexts are the same` : "")]);
        if (loss) facts.push(["effective tokens", `${grouped(loss.effective * (window.tokens - 1))} of ${grouped(window.tokens - 1)} under ${loss.name} (Kish)`]);
      } else facts.push(["scores", "none are stored for this window, so its text stands alone; select_first scores kept windows only"]);
      about.replaceChildren(el("dl", { class: "facts" }, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
    }

    // One block a line, so that the browser lays out only what is in sight; a very long line is broken between
    // words, where no sign of a line's end stands.
    const LONG_LINE = 300;
    function write() {
      const { content } = shown;
      const fragment = document.createDocumentFragment();
      let block = document.createElement("div"), start = 0;
      block.dir = "auto";
      content.lengths.forEach((length, token) => {
        const part = content.text.slice(start, start + length);
        start += length;
        if (block.childElementCount >= LONG_LINE && (part.startsWith(" ") || block.childElementCount >= 4 * LONG_LINE)) {
          fragment.append(block);
          block = document.createElement("div");
          block.dir = "auto";
        }
        const node = document.createElement("span");
        node.token = token;
        node.textContent = visible(part);
        shown.nodes.push(node);
        block.append(node);
        if (part.includes("\n")) {
          fragment.append(block);
          block = document.createElement("div");
          block.dir = "auto";
        }
      });
      fragment.append(block);
      text.replaceChildren(fragment);
      // Where both contexts are the same there is nothing to see: begin at the first token that differs.
      shown.first = content.short ? content.short.findIndex((value, entry) => value !== content.long[entry]) + 1 : 0;
      colour();
      text.scrollTop = 0;
      if (shown.first > 2) text.scrollTop = shown.nodes[shown.first].getBoundingClientRect().top - text.getBoundingClientRect().top - 40;
    }
    function colour() {
      const { content, nodes, window } = shown;
      const weights = content.losses[losses.value];
      let start = 0;
      nodes.forEach((node, token) => {
        const length = content.lengths[token], entry = token - 1;
        const classes = ["t"];
        if (content.short && entry >= 0) classes.push(gainClass(content.short[entry] - content.long[entry]));
        if (weights && entry >= 0) classes.push(weightClass(weights[entry]));
        if (length > 0 && content.text.slice(start, start + length).startsWith("\n")) classes.push("nl");
        if (length === 0 && !(token === 0 && window.bos)) classes.push("part");
        if (token === shown.here) classes.push("here");
        node.className = classes.filter(Boolean).join(" ");
        start += length;
      });
    }
    function tell(token) {
      const { content, nodes } = shown;
      if (shown.here !== null && nodes[shown.here]) nodes[shown.here].classList.remove("here");
      shown.here = token;
      nodes[token].classList.add("here");
      let start = 0;
      for (let place = 0; place < token; place++) start += content.lengths[place];
      const part = content.text.slice(start, start + content.lengths[token]);
      const facts = [el("b", {}, part ? quoted(part) : token === 0 && shown.window.bos ? "BOS" : "(part of a character)"), `position ${grouped(token)}`];
      const entry = token - 1;
      if (content.short && entry >= 0) {
        const gain = content.short[entry] - content.long[entry];
        facts.push(`short ${fixed(content.short[entry], 2)}`, `long ${fixed(content.long[entry], 2)}`,
          el("span", { id: "token-gain" }, `gain ${signed(gain, 2)}`));
        const weights = content.losses[losses.value];
        if (weights) facts.push(el("span", { id: "token-weight" }, `weight ${number(weights[entry])}`));
      } else if (content.short) facts.push("nothing predicts the first token");
      panel.replaceChildren(...facts.map((fact) => (typeof fact === "string" ? el("span", {}, fact) : fact)));
    }
    function next(sign) {
      const { content } = shown;
      if (!content.short) return;
      shown.ranks[sign] ||= Array.from(content.short.keys()).sort((a, b) => sign * (content.short[b] - content.long[b] - content.short[a] + content.long[a]));
      shown.place[sign] = (shown.place[sign] + 1) % Math.min(200, shown.ranks[sign].length);
      go(shown.ranks[sign][shown.place[sign]] + 1);
    }
    function go(token) {
      tell(token);
      const node = shown.nodes[token];
      node.scrollIntoView({ block: "nearest", behavior: "instant" });
      const [box, own] = [text.getBoundingClientRect(), node.getBoundingClientRect()];
      if (own.top < box.top + 20 || own.bottom > box.bottom - 20) text.scrollTop += own.top - box.top - box.height / 2;
      node.scrollIntoView({ block: "nearest", behavior: "instant" });
    }

    text.addEventListener("pointerover", (event) => { if (event.target.token !== undefined) tell(event.target.token); });
    text.addEventListener("click", (event) => { if (event.target.token !== undefined) tell(event.target.token); });
    text.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 50, PageUp: -50 };
      const here = shown.here === null ? -1 : shown.here;
      let token = null;
      if (event.key in steps) token = here + steps[event.key];
      else if (event.key === "Home") token = 0;
      else if (event.key === "End") token = shown.nodes.length - 1;
      if (token === null) return;
      event.preventDefault();
      go(Math.min(shown.nodes.length - 1, Math.max(0, token)));
    });
    losses.addEventListener("change", () => { colour(); describe(); if (shown.here !== null) tell(shown.here); });
    choose.addEventListener("change", () => { location.hash = hashOf(choose.value).slice(1); });

    function follow() {
      const match = /^#window=(.+)$/.exec(location.hash);
      let id = null;
      try { id = match && decodeURIComponent(match[1]); } catch { id = null; }
      if (id !== null && embedded.has(id)) {
        show(id).then(() => node.scrollIntoView({ block: "start" }));
      } else if (id !== null) {
        const missing = id;
        show(reader.windows[0].id).then(() => about.prepend(note(`This page does not hold the window ${visible(missing)}; "longspan explain ID --html FILE" writes a page that does.`)));
      } else if (shown === null) show(reader.windows[0].id);
    }
    window.addEventListener("hashchange", follow);
    follow();
  }

  function legend() {
    const sample = (name, label) => el("span", {}, el("span", { class: "t " + name }, "\u00a0token\u00a0"), " " + label);
    return el("div", { class: "legend" },
      sample("g4", "long context helps much"), sample("g2", "helps"), sample("", "no change"), sample("h2", "hurts"), sample("h4", "hurts much"),
      sample("w0", "weight below 0.1"), sample("w3", "1.25 and more"), sample("w4", "2 and more"), sample("w5", "4 and more"));
  }

  // 6 Weights

  function showWeights() {
    if (!data.weights || !data.weights.length) return;
    const node = section("weights", "Where the weight goes", "Weights");
    for (const store of data.weights) {
      node.append(note(`Windows of ${store.windowing}, scored by ${store.model} in ${grouped(store.short_context)} tokens of context and in the whole window: ${grouped(store.windows)} windows, ${grouped(store.tokens)} tokens.`));
      const names = Object.keys(store.losses);
      const cards = [[signed(store.short_mean - store.long_mean) + " nats", "mean gain of the long context", `short ${fixed(store.short_mean)}, long ${fixed(store.long_mean)}`],
        [percent(store.hurt_share, 0), "of tokens are harder with the long context", null]];
      for (const name of names.slice(0, 2)) {
        const loss = store.losses[name];
        cards.push([percent(loss.effective, 0), `effective tokens under ${name}`, `Kish's (Σw)² / Σw²; ${percent(loss.hurt_weight, 0)} of the weight lies where the long context hurts`]);
      }
      node.append(el("div", { class: "cards" }, cards.map(([value, label, detail]) => el("div", { class: "card" }, el("b", {}, value), el("span", {}, label), detail ? el("i", {}, detail) : null))));
      if (names.length > 2)
        node.append(table([
          { key: "name", label: "loss", value: (name) => name },
          { key: "effective", label: "effective tokens", numeric: true, value: (name) => store.losses[name].effective, show: (name) => percent(store.losses[name].effective) },
          { key: "hurt", label: "weight where the long context hurts", numeric: true, value: (name) => store.losses[name].hurt_weight, show: (name) => percent(store.losses[name].hurt_weight) },
          { key: "mean", label: "mean weight", numeric: true, value: (name) => store.losses[name].mean, show: (name) => number(store.losses[name].mean) },
        ], names, { caption: "losses" }));
      const grid = el("div", { class: "grid" });
      const width = store.nll_edges[1] - store.nll_edges[0];
      const densities = [["short", store.short], ["long", store.long]].flatMap(([context, counts]) => counts.map((count, place) => ({ context, x: store.nll_edges[place] + width / 2, density: count / store.tokens / width })));
      const far = Math.max(2, ...densities.filter((d) => d.density > 0.002).map((d) => d.x));
      grid.append(chart("NLL in short and long context", {
        x: { label: "nats \u2192", domain: [0, far] }, y: { label: "density (square-root scale)", type: "sqrt", grid: true, ticks: 4 }, color: { domain: ["short", "long"], range: [palette[0], palette[1]], legend: true },
        marks: [Plot.lineY(densities, { x: "x", y: "density", stroke: "context", strokeWidth: 2, clip: true }), Plot.ruleY([0], { stroke: "currentColor" })],
      }));
      const gains = store.gain.map((count, place) => ({ x1: store.gain_edges[place], x2: store.gain_edges[place + 1], share: count / store.tokens })).filter((d) => d.share > 0);
      const reach = Math.max(1, ...gains.filter((d) => d.share > 3e-4).map((d) => Math.abs(d.x2)));
      grid.append(chart("Gain of the long context (short \u2212 long)", {
        x: { label: "nats \u2192", domain: [-reach, reach] }, y: { label: "share of tokens", type: "sqrt", tickFormat: "~%", grid: true, ticks: 4 },
        marks: [Plot.rectY(gains, { x1: "x1", x2: "x2", y: "share", clip: true, insetLeft: 0.5, fill: (d) => (d.x1 > 0 ? "rgb(var(--helps))" : d.x2 < 0 ? "rgb(var(--hurts))" : "var(--dropped)"), title: (d) => percent(d.share, 2) }), Plot.ruleX([0], { stroke: "currentColor" }), Plot.ruleY([0], { stroke: "currentColor" })],
      }));
      node.append(grid);
      if (names.length) {
        const place = el("div", {});
        const choose = el("select", { onchange: () => place.replaceChildren(...lossParts(store, choose.value)) }, names.map((name) => el("option", { value: name }, name)));
        node.append(el("div", { class: "bar-of-controls" }, el("label", {}, "loss", choose)), place);
        place.replaceChildren(...lossParts(store, names[0]));
      }
    }
  }

  function lossParts(store, name) {
    const loss = store.losses[name];
    const total = loss.weights.reduce((sum, count) => sum + count, 0);
    const exponents = store.weight_exponents;
    const bars = loss.weights.slice(1).map((count, place) => ({ x1: 2 ** exponents[place], x2: 2 ** exponents[place + 1], share: count / total })).filter((bar) => bar.share > 0);
    const positions = store.positions.map((x, place) => ({ x, weight: loss.position_weights[place], gain: store.position_gain[place] }));
    const stop = (place) => (place + 1 < positions.length ? positions[place + 1].x : positions.at(-1).x + (positions.length > 1 ? positions[1].x - positions[0].x : 1));
    const grid = el("div", { class: "grid" },
      chart("Weights under " + name + (loss.weights[0] ? ` (${percent(loss.weights[0] / total)} are 0)` : ""), {
        x: { type: "log", base: 2, label: "weight \u2192", tickFormat: (d) => String(Number(d.toPrecision(3))), ticks: 6 }, y: { label: "share of tokens", type: "sqrt", tickFormat: "~%", grid: true, ticks: 4 },
        marks: [Plot.rectY(bars, { x1: "x1", x2: "x2", y: "share", fill: "var(--kept)", title: (d) => percent(d.share, 2) }), Plot.ruleX([1], { stroke: "currentColor", strokeDasharray: "4 3" }), Plot.ruleY([0], { stroke: "currentColor" })],
      }),
      chart("Mean weight and mean gain by position", {
        x: { label: "position in the window (tokens)", tickFormat: compact, ticks: 5 }, y: { label: "mean weight (bars), gain in nats (line)", grid: true, ticks: 5 },
        marks: [
          Plot.rectY(positions, { x1: "x", x2: (_, place) => stop(place), y: "weight", fill: "var(--kept)", fillOpacity: 0.55, insetRight: 0.6, title: (d) => `from ${d.x}: weight ${number(d.weight)}, gain ${signed(d.gain)}` }),
          Plot.lineY(positions, { x: (d, place) => (d.x + stop(place)) / 2, y: "gain", stroke: "rgb(var(--helps))", strokeWidth: 2 }),
          Plot.ruleX([store.short_context], { stroke: "currentColor", strokeDasharray: "4 3" }), Plot.ruleY([0], { stroke: "currentColor" }),
        ],
      }));
    return [grid, el("h3", {}, "Heaviest token types under " + name), table([
      { key: "text", label: "token", value: (row) => row.text, show: (row) => el("span", { class: "id" }, quoted(row.text)) },
      { key: "share", label: "share of the weight", numeric: true, value: (row) => row.share, show: (row) => percent(row.share, 2) },
      { key: "count", label: "occurrences", numeric: true, value: (row) => row.count, show: (row) => grouped(row.count) },
      { key: "weight", label: "mean weight", numeric: true, value: (row) => row.weight, show: (row) => number(row.weight) },
      { key: "gain", label: "mean gain (nats)", numeric: true, value: (row) => row.gain, show: (row) => signed(row.gain) },
    ], loss.types.slice(0, 25), { sort: "share", descending: true, caption: "heaviest token types" })];
  }

  // 7 Costs

  function showCosts() {
    if (!data.costs || !data.costs.length) return;
    const node = section("costs", "What it cost", "Costs");
    const estimated = data.costs.some((row) => row.expected_jobs !== undefined && row.expected_jobs !== null);
    const total = data.costs.reduce((sum, row) => sum + row.wall_seconds, 0);
    node.append(note(`${duration(total)} of jobs' time in all.` + (estimated ? "" : " No estimate was made before; \u201csnakemake estimate\u201d makes one to compare with.")));
    node.append(table([
      { key: "stage", label: "stage", value: (row) => row.stage },
      { key: "jobs", label: "jobs", numeric: true, value: (row) => row.jobs, show: (row) => grouped(row.jobs) + (row.expected_jobs ? ` of ${grouped(row.expected_jobs)}` : "") },
      { key: "wall", label: "wall time", numeric: true, value: (row) => row.wall_seconds, show: (row) => {
        const shown = el("span", {}, duration(row.wall_seconds), el("span", { class: "bar" }));
        shown.lastChild.style.width = (row.wall_seconds / total) * 6 + "rem";
        shown.lastChild.hidden = row.wall_seconds < 0.02 * total;
        return shown;
      } },
      { key: "cpu", label: "CPU time", numeric: true, value: (row) => row.cpu_seconds, show: (row) => duration(row.cpu_seconds) },
      { key: "memory", label: "largest memory", numeric: true, value: (row) => row.memory_gb, show: (row) => (row.memory_gb === null ? "–" : fixed(row.memory_gb, 2) + " GB") },
      ...(estimated ? [
        { key: "speed", label: "tokens/s", numeric: true, value: (row) => row.tokens_per_second, show: (row) => compact(row.tokens_per_second) },
        { key: "expected_memory", label: "memory estimated", numeric: true, value: (row) => row.expected_memory_gb, show: (row) => (row.expected_memory_gb ? fixed(row.expected_memory_gb, 1) + " GB" : "–") },
        { key: "gpu", label: "GPU-hours estimated", numeric: true, value: (row) => row.expected_gpu_hours, show: (row) => (row.expected_gpu_hours ? fixed(row.expected_gpu_hours, 2) : "–") },
      ] : []),
    ], data.costs, { sort: "wall", descending: true, caption: "costs by stage" }));
  }

  // 8 How

  function showHow() {
    const how = data.how;
    if (!how) return;
    const node = section("how", "How it was made", "How");
    node.append(el("dl", { class: "facts" }, Object.entries(how.versions).flatMap(([name, version]) => [el("dt", {}, name), el("dd", {}, version)])));
    node.append(el("h3", {}, "Settings beyond the defaults"), el("pre", { tabindex: "0" }, visible(how.changed)));
    node.append(el("h3", {}, "Licences"), table([
      { key: "what", label: "what", value: (row) => row.what, show: (row) => visible(row.what) },
      { key: "from", label: "from", value: (row) => row.from, show: (row) => el("span", { class: "quote" }, visible(row.from)) },
      { key: "license", label: "licence", value: (row) => row.license, show: (row) => visible(row.license) },
    ], how.licenses, { caption: "licences" }));
    node.append(el("h3", {}, "Commands"), el("pre", { tabindex: "0" }, how.commands.map((line) => line + "\n").join("")));
    node.append(note("This page was drawn with Observable Plot and D3, whose ISC licences stand in longspan's package."));
  }

  showTop();
  showHelped();
  showFunnel();
  showSelections();
  showReader();
  showWeights();
  showCosts();
  showHow();
  if (sections.length > 1)
    document.getElementById("top").after(el("nav", { "aria-label": "sections" }, sections.map(([id, short]) => el("a", { href: "#" + id }, short))));
  document.documentElement.dataset.ready = "yes";
})();
