// The latest leakage report, and whether the audit is as it was written.

import { api } from "./api.js";
import { $, badge, h, number, table } from "./dom.js";
import { act } from "./main.js";

/** Shows the report, if one was given. */
export async function showLeakage(given) {
  if (!given) {
    $("leakage-report").replaceChildren(h("p", { class: "quiet" }, "No report was given: start with --leakage FILE, a result of python -m benchmarks leakage."));
    return;
  }
  const found = await api("leakage");
  const rows = found.rows.map((row) => [row.system, row.split, row.attack ?? "as asked", row.metric, row.value.toFixed(4), number(row.n ?? row.count)]);
  $("leakage-report").replaceChildren(
    h("p", { class: "quiet" }, `${found.file}: ${found.suite ?? found.benchmark ?? "no suite named"}, commit ${found.commit ?? "unknown"}. What is forgotten only: as it was asked, and under the attack that got most out of it.`),
    table("What is still told of what is to be forgotten", [["System", true], ["Split", true], ["Attack", true], ["Metric", true], ["Value", false], ["Rows", false]], rows));
}

async function verify() {
  const found = await act("Verifying the audit", () => api("audit"), null, false);
  if (!found) return;
  const records = Object.values(found.records).reduce((sum, one) => sum + one, 0);
  const notes = (what, all) => all.map((note) => h("li", {}, badge(what, what === "problem" ? "bad" : ""), h("span", {}, [note.file, note.line].filter(Boolean).join(":")), h("span", {}, note.what)));
  $("verdict").replaceChildren(
    h("p", {}, found.intact ? badge("intact", "good") : badge("NOT INTACT", "bad"), ` ${number(records)} records in ${number(Object.keys(found.records).length)} chains`),
    h("ul", { class: "verdicts" }, notes("problem", found.problems.slice(0, 50)), notes("note", found.notes.slice(0, 50))));
}

export function startReports() {
  $("verify").addEventListener("click", verify);
}
