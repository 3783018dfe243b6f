// Targets: their state, and every change of it.

import { api } from "./api.js";
import { $, badge, confirm, h, number, percent, show, short } from "./dom.js";
import { act } from "./main.js";

const MODES = ["enforce", "shadow", "off"];
const ABOUT = {
  enforce: "Answers to requests that touch it are changed.",
  shadow: "It is noticed and recorded; every answer stays as it is.",
  off: "It is not even noticed.",
};

let version = null;

/** Shows what there is now; returns the ids. */
export async function refreshTargets() {
  const found = await api("targets");
  version = found.version;
  show($("target-list"), found.targets, (targets) => targets.map(card));
  show($("addable"), [found.addable, found.policy_error], ([ids, wrong]) => [
    ...(wrong ? [h("p", { class: "note wrong" }, `The policy cannot be read: ${wrong}`)] : []),
    ...ids.map((id) => h("p", { class: "bar" }, h("code", {}, id), "is in the policy and not in the bundle.",
      h("button", { type: "button", "data-key": `add-${id}`, onclick: () => change(`Adding ${id}`, `targets/${id}`, "PUT") }, "Add"))),
  ]);
  return found;
}

function change(what, path, method, body) {
  return act(what, () => api(path, { method, body, version }));
}

function card(target) {
  const rows = [
    ["Reason", target.reason || "none given"],
    ["Noticed by", target.detectors.map(detector).join(", ") || "answers alone"],
    ["Then", target.interventions.join(" + ") + (target.doubtful ? `; in doubt ${target.doubtful.join(" + ")}` : "")],
    ["Answers", target.output.length ? `${target.output.join(", ")}: ${target.on_hit}` : "not checked"],
    ...(Object.keys(target.tenants).length ? [["Tenants", Object.entries(target.tenants).map(([id, mode]) => `${id}: ${mode}`).join(", ")]] : []),
    ["Held out", [
      target.forget_rows ? `${percent(target.detected)} of ${number(target.forget_rows)} forget rows found` : "no forget rows",
      target.retain_rows ? `flagged ${percent(target.neighbours_flagged)} of ${number(target.retain_rows)} retain rows` : "no retain rows",
      target.everyday === null ? null : `${number(target.everyday_flagged)} of ${number(target.everyday)} everyday prompts`,
    ].filter(Boolean).join(", ")],
  ];
  return h("article", { class: "card", "aria-labelledby": `target-${target.id}` },
    h("div", { class: "bar" }, h("h3", { id: `target-${target.id}` }, target.id), badge(target.mode)),
    target.provisional ? h("p", { class: "note" }, "Names and words protect it until its detectors are fitted; add it again to have them.") : null,
    h("dl", {}, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("div", { class: "bar" }, modes(target),
      h("button", { type: "button", class: "danger", "data-key": `revoke-${target.id}`, onclick: () => revoke(target) }, "Revoke…")));
}

function detector(one) {
  if (one.threshold === null) return one.kind;
  return `${one.kind} (${one.threshold < 1e-9 ? "> 0" : `≥ ${short(one.threshold)}`})`;
}

function modes(target) {
  const options = MODES.map((mode) => h("label", { title: ABOUT[mode] },
    h("input", { type: "radio", name: `mode-${target.id}`, value: mode, checked: mode === target.mode,
      "data-key": `mode-${target.id}-${mode}`, onchange: (event) => switchTo(target, mode, event.target) }),
    h("span", {}, mode)));
  return h("fieldset", { class: "switch" }, h("legend", { class: "visually-hidden" }, `Mode of ${target.id}`), options);
}

async function switchTo(target, mode, input) {
  const less = MODES.indexOf(mode) > MODES.indexOf(target.mode);
  const back = () => {
    const group = input.closest("fieldset");
    group.querySelector(`input[value="${target.mode}"]`).checked = true;
  };
  if (less && !(await confirm(`Switch ${target.id} to ${mode}?`, ABOUT[mode], `Switch to ${mode}`))) return back();
  const done = await change(`Switching ${target.id} to ${mode}`, `targets/${target.id}/mode`, "PUT", { mode });
  if (!done && input.isConnected) back();
}

async function revoke(target) {
  const text = "It leaves the bundle with all that was made of it, and is guarded no more. To have it back, it must be fitted anew.";
  if (await confirm(`Revoke ${target.id}?`, text, "Revoke")) {
    await change(`Revoking ${target.id}`, `targets/${target.id}`, "DELETE");
  }
}

const lines = (id) => $(id).value.split("\n").map((line) => line.trim()).filter(Boolean);

function rows(id) {
  return lines(id).map((line, place) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new Error(`${$(id).labels[0].textContent}: line ${place + 1} is no JSON object`);
    }
  });
}

async function add(event) {
  event.preventDefault();
  const form = event.target;
  const id = $("add-id").value;
  const done = await act(`Adding ${id}`, () => api(`targets/${id}`, {
    method: "PUT", version,
    body: {
      reason: $("add-reason").value, mode: $("add-mode").value, names: lines("add-names"),
      forget: rows("add-forget"), retain: rows("add-retain"),
    },
  }), form);
  if (done) form.reset();
}

async function calibrate(event) {
  event.preventDefault();
  const rate = $("rate").value;
  const found = await act("Choosing thresholds", () => api("calibrate", {
    method: "POST", version,
    body: { traffic: lines("traffic"), max_false_positive_rate: rate ? Number(rate) : null, only_traffic: $("only").checked },
  }), event.target);
  if (!found) return;
  $("calibrated").replaceChildren(...found.targets.map((one) => h("p", { class: one.drifted ? "note wrong" : "note" },
    h("b", {}, one.target), `: ${one.before.length} of ${found.rows} prompts were flagged before, ${one.after.length} are now. `,
    one.thresholds.map((t) => `${t.detector} ${short(t.before)} → ${short(t.after)}`).join(", "))));
}

export function startTargets() {
  $("add").addEventListener("submit", add);
  $("calibrate").addEventListener("submit", calibrate);
}
