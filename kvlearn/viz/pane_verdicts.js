// Promises as lamps: a disc with a tick is kept, a cross is broken, a ring has nothing to judge.

const LAMPS = { kept: "kept", broken: "broken", nothing: "nothing to judge", unknown: "cannot tell", later: "not looked at yet" };
const LAMP_SIGNS = { kept: "M6.2,10.4 L9,13 L14,7.4", broken: "M6.6,6.6 L13.4,13.4 M13.4,6.6 L6.6,13.4",
  unknown: "M8,8 a2,2 0 1 1 2.6,2 q-.6,.3 -.6,1.4 M10,14 v.3" };

function lampsOf(line, bench) { // every promise as it stands at the cursor
  const { list = [], upto = -1, checked, epoch } = bench.verdicts || {}, row = line.row(), here = row ? row.seq : line.seq0;
  const end = epoch === line.epoch ? upto : -1; // what was judged before time went back is not of this run
  const seq = bench.real && end >= 0 ? Math.min(here, end) : here; // nobody judges as fast as real time goes by
  const lamps = list.map(([group, name, section, state, record, why, since]) => {
    const broken = record !== null && record <= Math.min(seq, end), quiet = since === null || since > seq;
    const now = broken ? "broken" : seq > end ? "later" : state === "unknown" ? state : quiet ? "nothing" : "kept";
    const whole = now !== "kept" || seq === end; // the numbers of what is kept are those of the end
    return { group, name, section, state: now, seq: broken ? record : null, why: now === "broken" || now === state && whole ? why : "" };
  });
  if (checked && checked.epoch === line.epoch) {
    const broken = !checked.ok && (checked.seq === null || checked.seq <= seq), end = checked.upto;
    const state = broken ? "broken" : seq > end ? "later" : "kept", told = broken || state === "kept" && (seq === end || bench.real);
    lamps.push({ group: "history", name: "Linearizability", section: "Herlihy, Wing", state,
      seq: broken ? checked.seq : null, why: told ? checked.why.split("\n")[0] : "" });
  }
  return lamps;
}

PANES.verdicts = {
  title: "Verdicts",
  needs: ["verdicts", "row"],
  of: (line, bench) => {
    const bad = lampsOf(line, bench).filter(({ state }) => state === "broken").length;
    return !bench.verdicts ? "not looked at yet" : (bad ? `${plural(bad, "promise")} broken` : "no promise is broken")
      + (bench.real ? `, up to record ${bench.verdicts.upto}` : "");
  },

  draw(line, bench) {
    const lamps = lampsOf(line, bench), groups = new Map();
    for (const lamp of lamps) groups.set(lamp.group, [...(groups.get(lamp.group) || []), lamp]);
    const check = () => bench.player.ask("check");
    return [!lamps.length && h("p", { key: "none", class: "kv-empty" }, "The promises were not looked at yet."),
      h("div", { key: "lamps", class: "kv-lamps" },
        [...groups].map(([group, its]) => h("section", { key: group, "aria-label": `Promises: ${group}` },
        h("h4", {}, group), h("ul", {}, its.map((lamp) => drawLamp(bench, lamp)))))),
      !bench.offline && h("p", { key: "check", class: "kv-row-of" },
        h("button", { type: "button", "data-kv-action": "check", onclick: check,
        title: "Search for one order of the clients' operations that explains every answer" },
          "check linearizability"))].filter(Boolean);
  },

  text: (line, bench) => lampsOf(line, bench).map(({ group, name, section, state, seq, why }) =>
    `${group}: ${name}${section ? ` (${section})` : ""}: ${LAMPS[state]}${seq === null ? "" : `, by record ${seq}`}${why ? `: ${why}` : ""}`).join("\n")
    || "The promises were not looked at yet.",
};

function drawLamp(bench, { name, section, state, seq, why }) {
  const told = `${name}: ${LAMPS[state]}${why ? `. ${why}` : ""}`;
  return h("li", { key: name, class: `kv-lamp kv-lamp-${state}`, "data-kv-promise": name, "data-kv-verdict": state },
    h("button", { ...asked(bench, ["promise", name], seq,
      { type: "button", class: "kv-lamp-of", "aria-label": told, title: why || told }), role: null, tabindex: null, onkeydown: null },
      h("svg", { viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": true },
        h("path", { class: "kv-lamp-disc", d: state === "broken" ? "M6.3,1 H13.7 L19,6.3 V13.7 L13.7,19 H6.3 L1,13.7 V6.3 Z"
          : "M2,10 a8,8 0 1 0 16,0 a8,8 0 1 0 -16,0 Z" }),
        LAMP_SIGNS[state] && h("path", { class: "kv-lamp-sign", d: LAMP_SIGNS[state] })),
      h("span", { class: "kv-lamp-name" }, name), h("span", { class: "kv-lamp-word" }, LAMPS[state])),
    h("small", {}, section),
    state === "broken" && h("p", {}, why,
      seq !== null && h("button",
      { type: "button", "data-kv-action": "goto", "data-kv-target": seq, onclick: () => bench.goto(seq) }, `record ${seq}`)));
}
