// What thresholds rest on: held-out scores as histograms, and margins of live requests.

import { api } from "./api.js";
import { $, h, number, s, short, show } from "./dom.js";

const SIDES = ["forget", "retain", "everyday"];
const NAMES = { forget: "forget rows", retain: "retain rows", everyday: "everyday prompts" };
const [WIDTH, LANE, GAP, TOP] = [420, 46, 20, 22];

/** Keeps the list of targets, and shows the chosen one. */
export async function refreshScores(targets) {
  const select = $("score-target");
  const ids = targets.map((one) => one.id);
  show(select, ids, () => ids.map((id) => h("option", { selected: id === select.value }, id)));
  if (!select.value) return;
  const found = await api(`targets/${encodeURIComponent(select.value)}/scores`);
  show($("score-plots"), found, plots);
}

function plots(found) {
  if (!found.stages.length) return [h("p", { class: "quiet" }, "No prompt is judged for it (detect: off).")];
  return [
    h("p", { class: "quiet" }, "Each row was scored when it was held out, so that no detector had seen it. Bars of a kind are as high as their own most frequent score. A stage sees every row here; in service, cheaper stages settle most prompts before."),
    h("div", { class: "plots" }, found.stages.map((stage) => plot(found.id, stage)), margins(found)),
  ];
}

function plot(target, stage) {
  const { edges, counts, threshold, floor } = stage;
  const x = (score) => ((score - edges[0]) / (edges.at(-1) - edges[0])) * WIDTH;
  const height = TOP + SIDES.length * (LANE + GAP) + 14;
  const marks = [];
  const lanes = SIDES.flatMap((side, place) => {
    const base = TOP + place * (LANE + GAP) + LANE;
    const most = Math.max(1, ...counts[side]);
    const bars = counts[side].map((count, bin) => count === 0 ? null : s("rect", {
      class: side, x: x(edges[bin]).toFixed(1), width: Math.max(1, x(edges[bin + 1]) - x(edges[bin]) - 1).toFixed(1),
      y: (base - Math.max(2, (LANE * count) / most)).toFixed(1), height: Math.max(2, (LANE * count) / most).toFixed(1),
    }));
    const rows = counts[side].reduce((sum, one) => sum + one, 0);
    return [...bars, s("line", { class: "axis", x1: 0, x2: WIDTH, y1: base, y2: base }),
      s("text", { x: 0, y: base + 13 }, `${number(rows)} ${NAMES[side]}`)];
  });
  const line = (score, kind) => s("line", { class: kind, x1: x(score).toFixed(1), x2: x(score).toFixed(1), y1: TOP - 6, y2: TOP + 3 * LANE + 2 * GAP });
  if (floor !== null) marks.push(line(floor, "floor"));
  if (threshold !== null) {
    const end = x(threshold) > WIDTH / 2;
    marks.push(line(threshold, "threshold"),
      s("text", { class: "threshold-name", x: x(threshold).toFixed(1), y: 11, "text-anchor": end ? "end" : "start" }, `threshold ${short(threshold)}`));
  }
  const ends = [s("text", { x: 0, y: height }, short(edges[0])),
    s("text", { x: WIDTH, y: height, "text-anchor": "end" }, short(edges.at(-1)))];
  const title = `Held-out scores of ${target}, ${stage.detector}`;
  return h("figure", {}, h("figcaption", {}, h("b", {}, stage.detector)),
    s("svg", { viewBox: `0 0 ${WIDTH} ${height + 4}`, role: "img", "aria-label": `${title}. ${summary(stage)}` }, lanes, marks, ends),
    h("p", { class: "quiet" }, summary(stage)));
}

function summary(stage) {
  const said = [];
  if (stage.threshold !== null) {
    said.push(`At or above the threshold: ${SIDES.map((side) => `${number(stage.reached[side])} of ${number(stage.rows[side])} ${NAMES[side]}`).join(", ")}.`);
  } else said.push("This stage flags nothing; it only dismisses.");
  if (stage.floor !== null) said.push(`Below the floor ${short(stage.floor)} (dashed) it dismisses.`);
  const unscored = SIDES.filter((side) => stage.unscored[side]);
  if (unscored.length) said.push(`Without a score: ${unscored.map((side) => `${number(stage.unscored[side])} ${NAMES[side]}`).join(", ")}.`);
  return said.join(" ");
}

function margins(found) {
  if (found.margins === null) return null;
  const steps = Object.entries(found.margins).map(([step, count]) => [Number(step), count]).sort((a, b) => a[0] - b[0]);
  const caption = h("figcaption", {}, h("b", {}, "Requests that touched it"));
  if (!steps.length) return h("figure", {}, caption, h("p", { class: "quiet" }, "None is in the latest part of the audit."));
  const most = Math.max(...steps.map((one) => one[1]));
  const [height, last] = [100, 4.25];
  const bars = steps.map(([step, count]) => s("rect", {
    class: "forget", x: ((step / last) * WIDTH).toFixed(1), width: (0.25 / last * WIDTH - 2).toFixed(1),
    y: (height - (88 * count) / most).toFixed(1), height: ((88 * count) / most).toFixed(1),
  }));
  const total = steps.reduce((sum, one) => sum + one[1], 0);
  const said = `${number(total)} in the latest part of the audit, by how far they scored above the threshold (0; 4 is 4 or more), in units of how far everyday prompts lie below it. The audit keeps quarters only, and nothing of requests below the threshold.`;
  return h("figure", {}, caption,
    s("svg", { viewBox: `0 0 ${WIDTH} ${height + 16}`, role: "img", "aria-label": said }, bars,
      s("line", { class: "axis", x1: 0, x2: WIDTH, y1: height, y2: height }), s("text", { x: 0, y: height + 13 }, "0"),
      s("text", { x: WIDTH, y: height + 13, "text-anchor": "end" }, "4")),
    h("p", { class: "quiet" }, said));
}
