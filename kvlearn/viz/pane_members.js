// Members: the sets that decide, and a row a node: what it is, how much of the log its leader knows
// to be there, what can be done.

function membersOf(line) {
  const { leader } = line.lead(), [voters, outgoing, learners] = line.conf(),
    up = (name) => !/down|paused/.test(line.get(name, "role") || "down");
  const names = [...new Set([...line.nodes(), ...voters, ...outgoing, ...learners])].sort(natural);
  const end = (name) => line.base(name) + (line.get(name, "log") || []).length, last = leader ? end(leader) : 0;
  const rows = names.map((name) => {
    const old = outgoing.includes(name), now = voters.includes(name), role = line.get(name, "role") || "unknown";
    const standing = now ? (outgoing.length && !old ? "voter, joining" : "voter") : old ? "leaving" : learners.includes(name)
      ? "learner" : "outside";
    const [match, next] = name === leader ? [last, last + 1]
      : (leader && standing !== "outside" && line.get(leader, `peer.${name}`)) || [null, null];
    return { name, role, standing, term: line.get(name, "term") || 0, match, next, lag: match === null ? null
      : Math.max(0, last - match), leads: name === leader };
  });
  const set = (title, who) => ({ title, who, need: Math.floor(who.length / 2) + 1, up: who.filter(up).length });
  const sets = outgoing.length ? [set("old voters", outgoing), set("new voters", voters)] : [set("voters", voters)];
  return { leader, last, rows, sets, learners };
}

const setText = ({ title, who, need,
  up }) => `${who.length} ${who.length === 1 ? title.replace(/s$/, "") : title}, ${need} needed, ${up} up`;

PANES.members = {
  title: "Members",
  needs: ["node"],
  version: (bench) => `${bench.newcomer || ""} ${Boolean(bench.hands)}`,
  of: (line) => membersOf(line).sets.map(setText).join("; and "),

  draw(line, bench, width) {
    const { leader, last, rows, sets, learners } = membersOf(line), tools = !bench.offline, spare = width > 560;
    if (!rows.length) return [h("p", { class: "kv-empty" }, "No node has started yet.")];
    const head = ["node", "role", "counts as", `${spare ? "known to be stored" : "stored"}, of ${leader ? last : "?"}`,
      ...(spare ? ["next"] : []), ...(tools ? ["do"] : [])];
    return [h("div", { key: "sets", class: "kv-sets" }, sets.map((set) => drawSet(line, bench, set, sets.length > 1)),
        learners.length ? drawSet(line, bench, { title: "learners", who: learners }) : null),
      sets.length > 1 && h("p", { key: "joint", class: "kv-hint" },
        "A joint configuration: both sets must agree, each with its own majority."),
      h("table", { key: "table", class: "kv-members" },
        h("caption", { class: "kv-spoken" }, leader ? `Members as ${leader} counts them` : "Members; nobody leads"),
        h("thead", {}, h("tr", {}, head.map((word) => h("th", { scope: "col" }, word)))),
        h("tbody", {}, rows.map((row) => drawMember(line, bench, row, last, spare, tools, leader)))),
      tools && newcomer(bench, rows)].filter(Boolean);
  },

  text(line) {
    const { leader, last, rows, sets } = membersOf(line);
    return [leader ? `as ${leader} counts; its log ends at ${last}` : "nobody leads", ...sets.map(setText),
      sets.length > 1 ? "joint: a majority of each set decides" : "",
      ...rows.map(({ name, role, standing, term, match, next, lag, leads }) => `${name}: ${role}, ${standing}, term ${term}`
        + (match === null ? "" : leads ? `, its log ends at ${match}`
          : `, match ${match}, next ${next}, ${lag} behind`))].filter(Boolean).join("\n");
  },
};

function drawSet(line, bench, set, joint) {
  return h("div", { key: set.title, class: `kv-set kv-set-${set.title.split(" ")[0]}`, role: "group", "aria-label": set.need
    ? setText(set) : set.title, "data-kv-set": set.title },
    h("p", {}, set.need ? [h("b", {}, setText(set)), set.up < set.need && h("em", {}, "no majority is up")] : h("b", {},
      plural(set.who.length, "learner")), joint && h("small", {}, "both must agree")),
    h("ul", {}, set.who.map((name) => {
      const role = line.get(name, "role") || "unknown", term = line.get(name, "term") || 0;
      return h("li", { key: name },
        h("button", { ...asked(bench, ["node", name], null,
        { type: "button", class: `kv-seat kv-seat-${role}`, "aria-label": `${name}, ${role}, term ${term}: why?`,
        title: `${name}, ${role}, term ${term}`,
        "data-kv-seat": name, style: bench.colours(term) }), role: null, tabindex: null, onkeydown: null }, name,
        role === "down" ? h("i", { "aria-hidden": true }, "✕") : role === "paused" ? h("i", { "aria-hidden": true }, "❙❙")
          : role === "leader" ? h("i", { "aria-hidden": true }, "♛") : null));
    })));
}

function drawMember(line, bench, row, last, spare, tools, leader) {
  const { name, role, standing, term, match, next, lag, leads } = row;
  const run = (verb, label, told) => h("button",
    { key: verb, type: "button", "data-kv-action": verb, "data-kv-target": name, title: told, "aria-label": `${label} ${name}`,
    onclick: () => bench.hands && bench.hands.run(verb, verb === "transfer" ? { to: name } : { name }) }, label);
  const acts = [standing === "learner" && run("member_promote", "promote", `${name} becomes a voter`),
    standing === "outside" && !bench.real && run("member_add", "add", `${name} becomes a voter`),
    standing !== "outside" && standing !== "leaving" && run("member_remove", "remove", `${name} leaves`),
    standing.startsWith("voter") && leader && !leads && !/down|paused/.test(role) && run("transfer", "make leader",
      `${leader} hands its leadership to ${name}`)].filter(Boolean);
  return h("tr", { key: name, "data-kv-member": name, "data-kv-standing": standing, "data-kv-match": match, "data-kv-lag": lag },
    h("th", { scope: "row" }, h("i", { class: `kv-dot-of kv-dot-${role}`, style: bench.colours(term), "aria-hidden": true }), name),
    h("td", {}, role, h("small", {}, `term ${term}`)), h("td", {}, standing),
    h("td", {}, match === null ? h("span", { class: "kv-hint" }, standing === "outside" ? "no member" : "not known")
      : [h("span", { class: "kv-stored", "aria-hidden": true },
        h("i", { style: `width:${last ? Math.min(100, Math.round((100 * match) / last)) : 0}%` })),
        `${match}${lag ? `, ${lag} behind` : ""}`, leads && h("small", {}, "its own log")]),
    spare && h("td", {}, next === null || leads ? "–" : next), tools && h("td", {}, h("div", { class: "kv-does" }, acts)));
}

function newcomer(bench, rows) { // a new node: its name is the next that is free
  const name = `n${Math.max(0, ...rows.map((row) => +(row.name.match(/^n(\d+)$/) || [0, 0])[1])) + 1}`;
  const add = (learner) => () => bench.hands && bench.hands.run("member_new", { name, learner });
  return h("p", { key: "new", class: "kv-row-of" }, h("span", {}, `A new node ${name}`),
    h("button", { type: "button", "data-kv-action": "member_new", "data-kv-target": "learner", onclick: add(true) },
      "add as learner"),
    h("button", { type: "button", "data-kv-action": "member_new", "data-kv-target": "voter", onclick: add(false) }, "add as voter"));
}
