"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

// Everything is made here: text by textContent alone, so that no text can be markup.
function make(tag, options = {}, ...children) {
  const { text, ...attributes } = options;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined && text !== null) element.textContent = text;
  element.append(...children.filter((child) => child !== null));
  return element;
}
function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
const IDEAL = ""; // the kind of a line that is no verifier's
const palette = getComputedStyle(document.documentElement); // palette.py: --of-<name>, --other-<place>
const others = []; // verifiers without a colour of their own, in order of appearance
const colour = (kind) => {
  const base = kind.replace("_weighted", "");
  if (palette.getPropertyValue(`--of-${base}`)) return `var(--of-${base})`;
  if (base === IDEAL) return "var(--line)";
  if (!others.includes(base)) others.push(base);
  return `var(--other-${others.indexOf(base) % 5})`;
};
const REFERENCES = ["exact_rule", "outcome_regression", "step_lookup", "solution_length"];
const isDashed = (kind) =>
  kind.endsWith("_weighted") || kind === "pass" || kind === IDEAL || REFERENCES.includes(kind);
const number = (value) => (Math.abs(value) >= 1e5 ? value.toExponential(1) : String(Math.round(value * 100) / 100));

// Charts ------------------------------------------------------------------------------------------------------------
function chart(spec) {
  const figure = make("figure", {}, make("strong", { text: spec.title }), make("figcaption", { text: spec.y }));
  const holder = make("div");
  const tip = make("div", { class: "tip", role: "status", hidden: "" });
  const legend = make("ul", { class: "legend" });
  for (const series of spec.series) {
    const swatch = make("span", { class: isDashed(series.kind) ? "swatch dashed" : "swatch" });
    swatch.style.borderTopColor = colour(series.kind);
    legend.append(make("li", {}, swatch, document.createTextNode(series.name)));
  }
  figure.append(holder, legend, tip);
  const redraw = () => plot(holder, tip, spec);
  new ResizeObserver(redraw).observe(holder);
  return figure;
}
function plot(holder, tip, spec) {
  const width = Math.max(280, holder.clientWidth), height = Math.min(400, Math.max(230, width * 0.55));
  const left = 44, right = 12, top = 12, bottom = 42;
  const points = spec.series.flatMap((series) => series.points);
  const xs = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
  const highest = Math.max(...points.map((point) => point.high ?? point.y)), scale = (v) => (spec.log ? Math.log2(v) : v);
  const yTop = Math.min(100, Math.ceil(highest / 10) * 10 || 10), yFrom = spec.from ?? 0;
  const [first, last] = [scale(xs[0]), scale(xs[xs.length - 1])];
  const px = (x) => left + ((scale(x) - first) / (last - first || 1)) * (width - left - right);
  const py = (y) => top + (1 - (y - yFrom) / (yTop - yFrom || 1)) * (height - top - bottom);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", tabindex: 0 });
  picture.setAttribute("aria-label", `${spec.title}: ${spec.y} against ${spec.x}. Arrow keys read values.`);
  for (let y = yFrom; y <= yTop; y += yTop - yFrom > 50 ? 20 : yTop - yFrom > 20 ? 10 : 5) {
    picture.append(draw("line", { x1: left, x2: width - right, y1: py(y), y2: py(y), class: "axis" }));
    picture.append(draw("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, y));
  }
  const ticks = spec.log ? xs : [0, 20, 40, 60, 80, 100];
  let reached = -Infinity;
  for (const x of ticks) {
    const text = number(x), wide = 7 * text.length + 8;
    if (px(x) - wide / 2 < reached) continue;
    reached = px(x) + wide / 2;
    const middle = Math.min(px(x), width - wide / 2);
    picture.append(draw("text", { x: middle, y: height - 22, "text-anchor": "middle" }, text));
  }
  picture.append(draw("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, spec.x));
  for (const series of spec.series) {
    const banded = series.points.filter((point) => point.low !== undefined);
    if (banded.length > 1 && !isDashed(series.kind)) {
      const upper = banded.map((p) => `${px(p.x)},${py(p.high)}`), lower = banded.map((p) => `${px(p.x)},${py(p.low)}`);
      const area = draw("polygon", { points: [...upper, ...lower.reverse()].join(" "), "fill-opacity": 0.14 });
      area.style.fill = colour(series.kind);
      picture.append(area);
    }
    const line = draw("polyline", { points: series.points.map((p) => `${px(p.x)},${py(p.y)}`).join(" "), fill: "none" });
    line.style.stroke = colour(series.kind);
    line.style.strokeWidth = isDashed(series.kind) ? 1.6 : 2.6;
    if (isDashed(series.kind)) line.style.strokeDasharray = "5 4";
    picture.append(line);
  }
  const cursor = draw("line", { y1: top, y2: height - bottom, class: "axis", visibility: "hidden" });
  picture.append(cursor);
  let at = -1;
  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  const show = (index) => {
    at = Math.max(0, Math.min(xs.length - 1, index));
    const x = xs[at];
    tip.replaceChildren(make("strong", { text: `${spec.x}: ${number(x)}` }));
    for (const series of spec.series) {
      const point = series.points.find((one) => one.x === x);
      if (!point || series.kind === IDEAL) continue;
      const range = point.low === undefined ? "" : ` (${point.low.toFixed(1)} to ${point.high.toFixed(1)})`;
      const count = point.count === undefined ? "" : `, ${point.count.toLocaleString("en")} of them`;
      tip.append(make("div", { text: `${series.name}: ${point.y.toFixed(1)}${range}${count}` }));
    }
    cursor.setAttribute("x1", px(x)); cursor.setAttribute("x2", px(x)); cursor.setAttribute("visibility", "visible");
    tip.hidden = false;
    const room = holder.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(room, px(x) + 14 > room ? px(x) - tip.offsetWidth - 8 : px(x) + 20))}px`;
    tip.style.top = "44px";
  };
  picture.addEventListener("pointermove", (event) => {
    const x = ((event.clientX - picture.getBoundingClientRect().left) / picture.clientWidth) * width;
    show(xs.reduce((best, value, index) => (Math.abs(px(value) - x) < Math.abs(px(xs[best]) - x) ? index : best), 0));
  });
  picture.addEventListener("pointerleave", hide);
  picture.addEventListener("blur", hide);
  picture.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) { event.preventDefault(); show(at + move); }
    if (event.key === "Escape") hide();
  });
  holder.replaceChildren(picture);
  hide();
}

// Tables and sections -----------------------------------------------------------------------------------------------
function table(spec) {
  const head = make("tr", {}, ...spec.columns.map((name) => make("th", { text: name, scope: "col" })));
  const cell = (value) => make("td", String(value).length > 40 ? { text: value, class: "long" } : { text: value });
  const rows = spec.rows.map((row) => make("tr", {}, ...row.map(cell)));
  const inner = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  const scroller = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": spec.title }, inner);
  const note = spec.note ? make("p", { class: "soft", text: spec.note }) : null;
  return make("div", {}, make("h3", { text: spec.title }), note, scroller);
}
function section(spec) {
  const charts = make("div", { class: spec.charts.length === 1 ? "charts single" : "charts" }, ...spec.charts.map(chart));
  const words = [make("h2", { text: spec.heading }), make("p", { class: "soft", text: spec.text })];
  return make("section", {}, ...words, charts, ...spec.tables.map(table));
}

// Solutions ---------------------------------------------------------------------------------------------------------
// Verifiers have any names, such as toString: none is looked up in a bare object, which has more than its own.
const NAMES = new Map([["prm", "PRM"], ["orm", "ORM"], ["majority", "majority voting"],
  ["ensemble_prm", "PRM ensemble"], ["ensemble_orm", "ORM ensemble"]]);
const nameOf = (method) => NAMES.get(method) ?? method;
const grade = (correct) => (correct === null ? "? not graded" : correct ? "✓ right" : "✗ wrong");
const kindOf = (correct) => (correct === null ? "middle" : correct ? "good" : "bad");
const picks = (problem, method) => Object.hasOwn(problem.picks, method);
const sample = (problem, index) => problem.samples[String(index)];
const problems = new Map((DATA.browser?.problems ?? []).map((problem) => [problem.id, problem]));

function solution(problem, index, heading) {
  const one = sample(problem, index);
  const scores = Object.entries(one.scores).filter(([, value]) => value !== null);
  const box = make("article", { class: "solution" }, make("h4", { text: heading }));
  const tag = make("span", { class: `tag ${kindOf(one.correct)}`, text: grade(one.correct) });
  box.append(make("p", {}, tag, document.createTextNode(` answer ${one.answer ?? "none"} · sample ${index}`)));
  const said = scores.map(([method, value]) => `${nameOf(method)} ${value.toPrecision(3)}`).join(" · ");
  box.append(make("p", { text: `${said}${said ? " · " : ""}${one.votes} of ${problem.slots} votes for this answer` }));
  for (const [text, probability, rating] of one.steps) {
    const kind = probability === null ? "" : probability >= 0.8 ? "good" : probability >= 0.5 ? "middle" : "bad";
    const sign = { good: "✓", middle: "~", bad: "✗" }[kind] ?? "";
    const mark = make("b", { text: probability === null ? "" : `${sign} ${probability.toFixed(2)}` });
    if (rating !== null) mark.append(make("span", { class: "rated", text: `rated ${["−1", "0", "+1"][rating + 1]}` }));
    box.append(make("div", { class: `step ${kind}` }, mark, make("span", { class: "text", text })));
  }
  return box;
}
function detail(problem) {
  const picked = new Map();
  for (const method of DATA.browser.methods) {
    if (!picks(problem, method)) continue;
    const index = problem.picks[method];
    picked.set(index, [...(picked.get(index) ?? []), nameOf(method)]);
  }
  const shown = [...picked].map(([index, names]) => solution(problem, index, `Pick of ${names.join(" and ")}`));
  const others = Object.keys(problem.samples).map(Number).filter((index) => !picked.has(index));
  const more = others.map((index) => solution(problem, index, `Sample ${index}`));
  const about = `${problem.split} · reference answer ${problem.truth ?? "unknown"} · `
    + `${(100 * problem.passRate).toFixed(0)} % of ${problem.slots} samples are right`;
  return [
    make("h3", { text: "Problem" }), make("p", { class: "text", text: problem.problem }), make("p", { class: "soft", text: about }),
    make("div", { class: "picks" }, ...shown),
    ...(more.length ? [make("h3", { text: "More samples" }), make("div", { class: "picks" }, ...more)] : []),
  ];
}
function filters() {
  const right = (problem, method) => picks(problem, method) && sample(problem, problem.picks[method]).correct;
  const all = [["all problems", () => true]];
  for (const method of DATA.browser.methods) {
    all.push([`${nameOf(method)} picks a wrong answer`, (problem) => !right(problem, method)]);
    for (const other of DATA.browser.methods) {
      const test = (problem) => right(problem, method) && !right(problem, other);
      if (other !== method) all.push([`${nameOf(method)} right, ${nameOf(other)} wrong`, test]);
    }
  }
  all.push(["some samples right, some wrong", (problem) => problem.passRate > 0 && problem.passRate < 1]);
  for (const split of new Set(DATA.browser.problems.map((problem) => problem.split)))
    all.push([`split ${split}`, (problem) => problem.split === split]);
  return all;
}
function browser(root) {
  const known = filters();
  const search = make("input", { type: "search", placeholder: "search problems and steps", "aria-label": "Search problems and steps" });
  const choice = make("select", { "aria-label": "Filter" }, ...known.map(([text], at) => make("option", { value: at, text })));
  const count = make("p", { class: "soft", role: "status" });
  const list = make("ul", { class: "list" }), shown = make("div", { "aria-live": "polite" });
  const texts = new Map(DATA.browser.problems.map((problem) => [problem.id, [problem.problem, problem.truth ?? "",
    ...Object.values(problem.samples).flatMap((one) => one.steps.map(([text]) => text))].join("\n").toLowerCase()]));
  const open = (id) => {
    shown.replaceChildren(...detail(problems.get(id)));
    for (const button of list.querySelectorAll("button")) button.setAttribute("aria-current", String(button.value === id));
  };
  const update = () => {
    const wanted = search.value.trim().toLowerCase(), [, test] = known[choice.value];
    const found = DATA.browser.problems.filter((problem) => test(problem) && texts.get(problem.id).includes(wanted));
    const { shown: embedded, of } = DATA.browser;
    const rule = embedded < of ? ` (${embedded} of the study's ${of} are embedded, drawn by seed)` : "";
    count.textContent = `${found.length} of ${embedded} problems${rule}`;
    list.replaceChildren(...found.map((problem) => {
      const marks = DATA.browser.methods.filter((method) => picks(problem, method))
        .map((method) => `${nameOf(method)} ${sample(problem, problem.picks[method]).correct ? "✓" : "✗"}`).join("  ");
      const button = make("button", { type: "button", value: problem.id }, make("span", { class: "clip", text: problem.problem }), make("small", { text: marks }));
      button.addEventListener("click", () => open(problem.id));
      return make("li", {}, button);
    }));
    const differ = (problem) => new Set(Object.values(problem.picks).map((index) => sample(problem, index).correct)).size > 1;
    if (found.length) open((found.find(differ) ?? found[0]).id); else shown.replaceChildren(make("p", { text: "No problem is like that." }));
  };
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")], move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = move && buttons[buttons.indexOf(document.activeElement) + move];
    if (next) { event.preventDefault(); next.focus(); next.click(); }
  });
  search.addEventListener("input", update);
  choice.addEventListener("change", update);
  root.append(make("h2", { text: "Solutions" }), make("p", { class: "soft", text:
    "A step's number is the PRM's P(neutral) + P(positive): ✓ from 0.8, ~ from 0.5, ✗ below. “rated” is what the rule or the rater says." }),
    make("div", { class: "browser" }, make("div", {}, make("div", { class: "controls" }, search, choice), count, list), shown));
  update();
  return (id) => { search.value = ""; choice.value = 0; update(); open(id); root.scrollIntoView(); };
}

// The page ----------------------------------------------------------------------------------------------------------
document.title = `${DATA.title}: Stepverify report`;
byId("title").textContent = DATA.heading;
byId("subtitle").textContent = DATA.subtitle;
const rest = DATA.verdicts.filter((text) => text !== DATA.heading).map((text) => make("p", { text }));
const verdict = rest.length ? make("div", { class: "verdict" }, ...rest) : null;
byId("verdict").append(...(verdict ? [verdict] : []), make("ul", { class: "notes" }, ...DATA.notes.map((text) => make("li", { text }))));
byId("sections").append(...DATA.sections.map(section));
const openProblem = DATA.browser ? browser(byId("browser")) : null;
if (!DATA.browser) for (const absent of [byId("browser"), byId("examples"), document.querySelector(".skip")]) absent.remove();
if (DATA.browser?.examples.length) {
  const shown = DATA.browser.examples.map(({ kind, problem, sample: index }) => {
    const box = solution(problems.get(problem), index, kind);
    const button = make("button", { type: "button", text: "see the problem" });
    button.addEventListener("click", () => openProblem(problem));
    box.append(button);
    return box;
  });
  byId("examples").append(make("h2", { text: "Examples" }), make("p", { class: "soft", text:
    "As in the paper's appendix I, drawn by seed: true positives (the PRM's pick is right where most samples are wrong), "
    + "true negatives (a wrong answer that wins the vote and not the PRM), false positives (a wrong pick of the PRM)." }),
    make("div", { class: "picks" }, ...shown));
}
byId("provenance").append(make("h2", { text: "Provenance" }), make("p", { class: "soft", text: DATA.provenance.text }), table(DATA.provenance.table));
