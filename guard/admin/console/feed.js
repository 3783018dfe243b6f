// What happens: events of the audit as they come, and what was counted.

import { api } from "./api.js";
import { $, badge, h, number, show, when } from "./dom.js";

const MOST = 200;
let newest = 0;
let paused = false;

/** Shows the counts, and looks for new events. */
export async function refreshFeed(counts) {
  show($("counts"), counts, tiles);
  if (paused) return;
  const found = await api(`decisions?after=${newest}&limit=${MOST}`);
  if (!found.audited) {
    $("feed-note").textContent = "There is no audit, so nothing is known of what was decided: start with --audit FOLDER, here and where requests are served.";
    $("pause").hidden = true;
    return;
  }
  if (found.newest < newest) $("feed").replaceChildren();
  newest = found.newest;
  const feed = $("feed");
  feed.prepend(...found.events.map(item));
  while (feed.children.length > MOST) feed.lastChild.remove();
  $("feed-note").textContent = feed.children.length
    ? "The latest first. Requests that touched no target are counted, not listed. No text is kept."
    : "Nothing has touched a target yet.";
}

function tiles(counts) {
  if (!counts.audited) return [];
  const shadow = counts.targets.filter((one) => one.mode === "shadow").reduce((sum, one) => sum + one.count, 0);
  const hits = counts.hits.reduce((sum, one) => sum + one.count, 0);
  const requests = Object.entries(counts.requests).sort((a, b) => b[1] - a[1]);
  const tile = (value, name) => h("div", { class: "tile" }, h("b", {}, number(value)), h("span", { class: "quiet" }, name));
  return [
    ...requests.map(([action, count]) => tile(count, action)),
    tile(shadow, "noticed in shadow"),
    tile(hits, "hits in answers"),
    h("p", { class: "quiet" }, counts.since ? `since ${when(counts.since)}; requests by what was done are told once a minute` : ""),
  ];
}

function item(event) {
  return h("li", {}, h("time", { datetime: event.at }, when(event.at)), kind(event),
    h("span", { class: "what" }, what(event)), h("code", {}, event.request ?? ""));
}

function kind(event) {
  if (event.kind === "decided") {
    if (event.action === "failed" || event.action === "opened") return badge(event.action, "bad");
    return event.action === "allow" ? badge("shadow") : badge(event.action, "enforce");
  }
  if (event.kind === "hit") return badge(`answer: ${event.action}`, event.action === "shadow" ? "shadow" : "enforce");
  const bad = ["unchecked", "refused", "abandoned"].includes(event.kind);
  return badge({ refused: "bundle refused", asked: "asked both" }[event.kind] ?? event.kind, bad ? "bad" : "");
}

function what(event) {
  switch (event.kind) {
    case "decided":
      if (event.error) return `could not be judged (${event.error})`;
      return (event.targets ?? []).map((one) => {
        const would = one.mode === "shadow" ? `, would ${one.action}` : "";
        return `${one.target} by ${one.detector}, margin ${one.margin}${one.doubtful ? ", in doubt" : ""}${would}`;
      }).join("; ");
    case "hit":
      return `${event.target} by ${event.check}, at character ${event.position} of answer ${event.answer + 1}`;
    case "unchecked":
      return `an answer could not be checked (${event.error}): ${event.action}`;
    case "refused":
      return `version ${event.bundle ?? "unknown"} (${event.error}); ${event.stays} stays`;
    case "changed":
      return `${event.target ?? "who is told apart:"} ${changed(event)} by ${event.who}`;
    case "abandoned":
      return `${event.command} by ${event.who} (${event.error})`;
    default:
      return `by ${event.who}`;
  }
}

const changed = (event) => event.what === "mode" ? `${event.mode_before} → ${event.mode}` : event.what;

/** Forgets what was shown to whoever was signed in before. */
export function clearFeed() {
  newest = 0;
  $("feed").replaceChildren();
}

export function startFeed() {
  $("pause").addEventListener("click", (event) => {
    paused = !paused;
    event.target.setAttribute("aria-pressed", paused);
    event.target.textContent = paused ? "Go on" : "Pause";
  });
}
