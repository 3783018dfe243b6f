// Which process serves which version, and how long the guard takes.

import { api } from "./api.js";
import { $, badge, duration, h, number, show, table, when } from "./dom.js";

/** Shows both. */
export async function refreshServers(counts) {
  const found = await api("servers");
  show($("server-list"), found, list);
  show($("latency"), [found.endpoints, counts.stages, counts.audited], ([endpoints, stages, audited]) => latency(endpoints, stages, audited));
}

function list(found) {
  const shown = [];
  const state = (versions) => versions.includes(found.version) ? badge("newest", "good") : badge("older", "shadow");
  if (found.endpoints.length) {
    shown.push(table("Endpoints, as they answer now", [["Address", true], ["State", true], ["Serves", true], ["Version", true]],
      found.endpoints.map((one) => [
        one.url, one.healthy ? badge("healthy", "good") : badge("not healthy", "bad"),
        one.error ?? (one.versions.join(", ") || "no guard's metrics"),
        one.versions?.length ? state(one.versions) : null,
      ])));
  }
  if (found.processes.length) {
    shown.push(table("Processes, as they said themselves in the audit", [["Process", true], ["Role", true], ["Serves", true], ["Version", true], ["Since", true], ["Until", true]],
      found.processes.map((one) => [
        `${one.writer} (${one.pid ?? "?"})`, one.role, one.bundle + (one.refused ? `, refused ${one.refused}` : ""),
        one.ended ? badge("ended", "") : state([one.bundle]),
        when(one.serving_since), one.ended ? when(one.ended) : null,
      ])));
    shown.push(h("p", { class: "quiet" }, "A process that was killed says nothing of its end."));
  }
  if (!shown.length) {
    shown.push(h("p", { class: "quiet" }, found.audited
      ? "No process has said yet that it serves a bundle."
      : "Not known: give --endpoint URL, or --audit FOLDER here and where requests are served."));
  }
  return shown;
}

function latency(endpoints, stages, audited) {
  const columns = [["Stage", true], ["Times", false], ["Median", false], ["95 %", false], ["99 %", false]];
  const rows = (of) => Object.entries(of).map(([stage, one]) => [stage, number(one.count), duration(one.p50), duration(one.p95), duration(one.p99)]);
  const shown = endpoints.filter((one) => one.stages && Object.keys(one.stages).length)
    .map((one) => table(`${one.url}: all requests since its start, as finely as its buckets tell`, columns, rows(one.stages)));
  if (Object.keys(stages).length) shown.push(table("From the audit: only requests that touched a target", columns, rows(stages)));
  if (!shown.length) shown.push(h("p", { class: "quiet" }, audited ? "Nothing was measured yet." : "Not known without --endpoint URL or an audit."));
  return shown;
}
