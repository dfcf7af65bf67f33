// The panes of the bench: the ring with its messages, and the logs. They draw where the cursor of a
// timeline (player.js) stands; what is clicked they hand to the bench (bench.js).

// The ring ------------------------------------------------------------------------------------

const R = 33, TIMER = 42, APART = 15.5, MOST_ASIDE = 6, ECHO_MS = 380;
const beside = ({ c }) => Math.abs(c) > 0.5; // words stand beside a node, else above or below it

class Ring {
  constructor(bench) {
    this.bench = bench;
    this.edges = make("g", { class: "kv-edges" });
    this.groups = ["", "kv-old"].map((old) => make("path", { class: `kv-group ${old}` }));
    this.dots = make("g", { class: "kv-dots" });
    this.discs = make("g", { class: "kv-discs" });
    this.marks = make("g", { class: "kv-marks" });
    this.echoes = make("g", { class: "kv-dots kv-echoes", "aria-hidden": true });
    this.svg = make("svg", { class: "kv-ring", role: "group", tabindex: -1, "aria-label": "Ring of nodes" },
      ...this.groups, this.edges, this.discs, this.echoes, this.dots, this.marks);
    this.nodes = new Map();
    this.messages = new Map();
    Object.assign(this, { links: [], at: {} }); // of a trace without nodes, too
  }

  layout(names) {
    this.names = names;
    const n = names.length, radius = [0, 0, 120, 128, 140, 152][n] ?? 152 + 16 * (n - 5);
    const turns = names.map((_, k) => (n === 2 ? Math.PI * (1 - k) : -Math.PI / 2 + (2 * Math.PI * k) / n));
    const spots = turns.map((turn) => ({ c: Math.cos(turn), s: Math.sin(turn) }));
    const reach = radius * Math.max(...spots.map(({ c }) => Math.abs(c))) + TIMER + 92;
    const lowest = Math.max(...spots.map((spot) => radius * spot.s + (beside(spot) ? 12 : 38)));
    const highest = Math.min(...spots.map(({ s }) => radius * s));
    const high = lowest - highest + 2 * TIMER + 62; // room for the line around a group
    set(this.svg, "viewBox", `0 0 ${2 * reach} ${high}`);
    this.svg.style.setProperty("--kv-aspect", `${2 * reach} / ${high}`);
    [this.edges, this.discs, this.dots, this.echoes].forEach((g) => g.replaceChildren());
    this.nodes.clear();
    this.messages.clear();
    this.at = {};
    names.forEach((name, k) => {
      const { c, s } = spots[k];
      this.at[name] = { x: reach + radius * c, y: TIMER + 40 + radius * s - highest, c, s };
    });
    this.links = [];
    names.forEach((a, k) => names.slice(k + 1).forEach((b) => {
      const [from, to] = [this.at[a], this.at[b]];
      const line = make("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
      this.edges.append(line);
      this.links.push({ a, b, line });
    }));
    names.forEach((name) => this.addNode(name));
    Object.assign(this, { radius, turns, middle: [reach, TIMER + 40 - highest], joint: null });
  }

  outline(group, more) { // around the nodes of a group, inside of all others
    const n = this.names.length, far = this.radius + TIMER + 7, near = Math.max(8, this.radius - TIMER - 12);
    const reach = this.names.map((name) => (group.includes(name) ? far : near) + more);
    const share = Math.min(0.42, (1.15 * TIMER * n) / this.radius / 2 / Math.PI);
    return `M${Array.from({ length: 24 * n }, (_, k) => {
      const [at, part] = [Math.floor(k / 24), (k % 24) / 24], next = reach[(at + 1) % n];
      const ease = Math.max(0, Math.min(1, (part - share) / (1 - 2 * share)));
      const away = reach[at] + (next - reach[at]) * ease * ease * (3 - 2 * ease);
      const turn = this.turns[0] + (2 * Math.PI * (at + part)) / n * (n === 2 ? -1 : 1);
      return [this.middle[0] + away * Math.cos(turn), this.middle[1] + away * Math.sin(turn)].map((v) => v.toFixed(1));
    }).join(" ")}Z`;
  }

  drawGroups(conf) { // in a joint configuration: whose majorities must both agree
    const key = conf[1].length ? JSON.stringify(conf) : "";
    if (this.joint === key) return;
    this.joint = key;
    this.groups.forEach((path, k) => set(path, "d", key ? this.outline(conf[k], 5 * k) : ""));
  }

  addNode(name) {
    const { x, y, c, s } = this.at[name];
    const circle = (r, cls, more = {}) => make("circle", { r, class: cls, ...more });
    const below = s > -0.5, side = beside({ c });
    const anchor = !side ? "middle" : c > 0 ? "start" : "end";
    const label = make("text", { class: "kv-role", "text-anchor": anchor,
      x: side ? Math.sign(c) * (TIMER + 9) : 0, y: side ? -2 : below ? TIMER + 18 : -TIMER - 26 });
    const leads = make("text", { class: "kv-vote", "text-anchor": anchor, x: label.getAttribute("x"),
      y: +label.getAttribute("y") + 15 });
    const parts = { label, leads,
      arc: circle(TIMER, "kv-arc", { pathLength: 100, transform: "rotate(-90)" }),
      pie: make("g", { class: "kv-pie" }),
      name: make("text", { class: "kv-name", y: -1 }, name),
      term: make("text", { class: "kv-term", y: 13 }) };
    const g = make("g", { class: "kv-node", tabindex: 0, role: "button", "aria-haspopup": "menu",
      "data-kv-node": name, transform: `translate(${x},${y})`,
      onclick: () => this.bench.nodeMenu(name), onkeydown: pressed(() => this.bench.nodeMenu(name)) },
      circle(TIMER + 5, "kv-hit"), circle(TIMER, "kv-track"), parts.arc, circle(R, "kv-body"),
      make("path", { class: "kv-cross", d: "M-20,-20 L20,20 M-20,20 L20,-20" }),
      make("path", { class: "kv-bars", d: "M-11,-20 V20 M11,-20 V20" }),
      parts.pie, circle(R + 1, "kv-rim"), circle(R + 5, "kv-rim kv-outer"),
      make("path", { class: "kv-crown", d: this.bench.theme.crown, transform: `translate(0,${-R - 12})` }),
      parts.name, parts.term, label, leads);
    this.discs.append(g);
    this.nodes.set(name, { g, ...parts });
  }

  drawState(line) {
    const cuts = new Set(line.state.cuts || []), conf = line.conf(), members = conf.flat();
    const member = (name) => !members.length || members.includes(name);
    for (const { a, b, line: edge } of this.links) {
      const gone = cuts.has(`${a}>${b}`) + cuts.has(`${b}>${a}`);
      set(edge, "class", gone === 2 ? "kv-cut" : gone ? "kv-cut kv-half" : member(a) && member(b) ? "" : "kv-none");
    }
    this.drawGroups(conf);
    for (const [name, node] of this.nodes) {
      const get = (field) => line.get(name, field);
      const role = get("role") || "follower", term = get("term") || 0;
      set(node.g, "data-kv-role", role);
      set(node.g, "style", this.bench.colours(term));
      say(node.term, `term ${term}`);
      say(node.label, role);
      const vote = get("vote"), leader = get("leader");
      const pre = get("pre"), votes = get("votes") || pre, snap = get("snap"), to = get("to");
      const [voters, outgoing] = get("conf") || [[], []];
      const asked = [...new Set([...voters, ...outgoing])].sort();
      const half = conf[1].length && (["new", "old"].filter((_, k) => conf[k].includes(name)).join(" + ") || "no vote");
      // Short: the words stand between the ring and the edge.
      const told = votes ? `${pre ? "pre-" : ""}votes ${Object.values(votes).filter(Boolean).length}/${asked.length}`
        : to ? `yields to ${to}` : snap ? `snap ${snap[1]}/${snap[2]}`
          : half || (role !== "outside" && !member(name) && "removed") || (/down|leader|outside/.test(role) ? ""
            : leader ? `follows ${leader}` : vote ? `voted ${vote === name ? "itself" : vote}` : "no leader");
      say(node.leads, told);
      set(node.g, "aria-label", `${name}, ${role}, term ${term}${told ? `, ${told}` : ""}`);
      node.g.classList.toggle("kv-asks", Boolean(votes));
      node.g.classList.toggle("kv-pre", Boolean(pre));
      this.drawVotes(node, asked, votes);
    }
    this.drawMessages(line);
  }

  drawVotes(node, asked, votes) {
    const key = votes ? JSON.stringify([votes, asked]) : "";
    if (node.pieKey === key) return;
    node.pieKey = key;
    const n = asked.length;
    node.pie.replaceChildren(...(votes ? asked.map((peer, k) => {
      const turn = (part, r) => `${r * Math.sin(2 * Math.PI * part)},${-r * Math.cos(2 * Math.PI * part)}`;
      const [a, b, large] = [k / n + 0.01, (k + 1) / n - 0.01, n === 1 ? 1 : 0];
      const vote = votes[peer] === undefined ? "open" : votes[peer] ? "yes" : "no";
      const [x, y] = turn((k + 0.5) / n, R - 8).split(",").map(Number);
      return make("g", {}, make("path", { class: `kv-slot kv-${vote}`, d: `M${turn(a, R - 3)} A${R - 3},${R - 3} 0 ${large} 1 `
        + `${turn(b, R - 3)} L${turn(b, R - 13)} A${R - 13},${R - 13} 0 ${large} 0 ${turn(a, R - 13)} Z` },
        make("title", {}, `${peer}: ${vote === "open" ? "no answer yet" : vote}`)),
        ...(vote === "no" ? [make("path", { class: "kv-refusal", d: `M${x - 3},${y - 3} l6,6 m-6,0 l6,-6` })] : []));
    }) : []));
  }

  drawMessages(line) { // which dots there are; where they are is drawTime's
    const wanted = new Set();
    for (const id of line.flying) {
      const packet = line.packets.get(id);
      if (!packet || !packet.from || !this.at[packet.from] || !this.at[packet.to]) continue;
      wanted.add(id);
      if (!this.messages.has(id)) this.addMessage(packet);
    }
    for (const [id, { g }] of this.messages) {
      if (wanted.has(id)) continue;
      this.messages.delete(id);
      if (g.contains(document.activeElement)) this.svg.focus({ preventScroll: true }); // it stays in the panel
      g.remove();
    }
  }

  course(from, to) { // everyone keeps to the right, so that question and answer do not meet
    const [a, b] = [this.at[from], this.at[to]], length = Math.hypot(b.x - a.x, b.y - a.y);
    const [ux, uy] = [(b.x - a.x) / length, (b.y - a.y) / length];
    return { a, length, ux, uy, side: { x: -uy, y: ux } };
  }

  echo([, from, to, , kind, term]) { // a real message has come before one sees it: it is shown once more, slowly
    if (!this.at[from] || !this.at[to] || this.echoes.childElementCount > 30) return;
    const course = this.course(from, to), dot = make("circle", { class: "kv-dot", r: kind.startsWith("beat") ? 4 : 6 });
    const [first, last] = [0.04, 1].map((way) => `translate(${this.spot(course, way).map((v) => `${v.toFixed(1)}px`)})`);
    const g = make("g", { class: `kv-message kv-${kind.replace(" ", " kv-")}`, "data-kv-fate": "",
      style: `${this.bench.colours(term)};opacity:0;pointer-events:none` }, dot);
    this.echoes.append(g);
    g.animate([{ transform: first, opacity: 0.9 }, { transform: last, opacity: 0.9 }], { duration: ECHO_MS,
      delay: kind.includes("answer") ? ECHO_MS : 0 }).onfinish = () => g.remove();
  }

  addMessage(packet) {
    const { id, from, to, label, kind, term, fate } = packet;
    const { a, length, ux, uy, side } = this.course(from, to);
    const text = make("text", { class: "kv-label" }, label);
    const r = kind.startsWith("beat") ? 5 : 6.5, part = kind === "snapshot"; // a square: a part of something large
    const tail = make("line", { class: "kv-tail", x1: -22 * ux, y1: -22 * uy, x2: -5 * ux, y2: -5 * uy });
    const g = make("g", { class: `kv-message kv-${kind.replace(" ", " kv-")}`, tabindex: 0,
      role: "button", "aria-haspopup": "menu", style: this.bench.colours(term),
      "data-kv-message": id, "data-kv-fate": fate, "aria-label":
        `message ${label} from ${from} to ${to}${fate ? `, will be lost: ${fate}` : ""}`,
      onclick: (event) => !this.dragged && this.bench.messageMenu(this.nearest(event, id)), onkeydown: pressed(() => this.bench.messageMenu(id)),
      onpointerdown: (event) => this.grab(event, id) },
      tail, make("circle", { class: "kv-hit", r: 15 }), part ? make("rect", { class: "kv-dot", x: -r, y: -r,
        width: 2 * r, height: 2 * r, rx: 2 }) : make("circle", { class: "kv-dot", r }), text);
    const wide = label.length * 7, right = { x: 11, y: 4, part: 0, anchor: "start" };
    const left = { x: -11, y: 4, part: 1, anchor: "end" };
    const below = { x: 0, y: 21, part: 0.5, anchor: "middle" }, above = { ...below, y: -12 };
    const level = side.x > 0 ? [right, left] : [left, right], stacked = side.y > 0 ? [below, above] : [above, below];
    const places = Math.abs(uy) > 0.4 ? [...level, ...stacked] : [...stacked, ...level];
    this.messages.set(id, { g, text, packet, a, ux, uy, side, length, wide, places, place: 0 });
    this.dots.append(g);
  }

  // A message can be dragged along its edge: back, and it comes later, after others; on, and it arrives now.

  grab(event, id) {
    this.dragged = null;
    const { bench } = this, message = this.messages.get(id), { line } = bench;
    if (bench.offline || bench.real || event.button || !message || !line.flying.has(id)) return;
    const from = [event.clientX, event.clientY], scale = this.svg.getBoundingClientRect().width / this.svg.viewBox.baseVal.width;
    const begun = this.way(line, message.packet), long = Math.max(1, message.length - 2 * TIMER - 12);
    const moved = (at) => ((at.clientX - from[0]) * message.ux + (at.clientY - from[1]) * message.uy) / scale / long;
    const move = (at) => {
      if (!this.dragged && Math.hypot(at.clientX - from[0], at.clientY - from[1]) < 5) return;
      if (!this.dragged) bench.player.stop();
      this.dragged = { id, way: Math.max(0, Math.min(1, begun + moved(at))) };
      bench.player.dirty = true;
    };
    const drop = () => {
      this.svg.ownerDocument.removeEventListener("pointermove", move);
      this.svg.ownerDocument.removeEventListener("pointerup", drop);
      if (this.dragged) this.letGo(message, begun, this.dragged.way);
      setTimeout(() => (this.dragged = null)); // the click that follows is none
    };
    this.svg.ownerDocument.addEventListener("pointermove", move);
    this.svg.ownerDocument.addEventListener("pointerup", drop);
  }

  letGo({ packet }, begun, way) { // as much later as it was pulled back: others overtake it
    const { line } = this.bench, due = line.state[`p${packet.id}`] ?? packet.arrives;
    if (way > begun + 0.1 || way >= 1) this.bench.act("deliver", { packet: packet.id });
    else if (due && way < begun - 0.02) this.bench.act("delay", { packet: packet.id, by_us: Math.max(1, Math.round((begun - way) * (due - packet.us) * 4)) });
    this.bench.player.dirty = true;
  }

  way(line, packet) { // how much of its way is behind it, 0 to 1
    if (this.dragged && this.dragged.id === packet.id) return this.dragged.way;
    if (still.matches) return 0.5;
    const due = line.state[`p${packet.id}`] ?? packet.arrives;
    const end = packet.lost ? due : packet.end ?? due;
    if (!end || end <= packet.us) return 0.5;
    const part = Math.max(0, Math.min(1, (line.us - packet.us) / (end - packet.us)));
    const gone = packet.fate && packet.fate !== "down" ? 0.62 : 1; // lost on the way, not at its end
    return 0.04 + part * (gone - 0.04);
  }

  spot({ a, ux, uy, side, length }, way) {
    const along = TIMER + 6 + way * (length - 2 * TIMER - 12);
    return [a.x + ux * along + side.x * 8, a.y + uy * along + side.y * 8];
  }

  nearest({ clientX, clientY }, id) { // where dots crowd: the one whose middle was pressed
    const away = ({ g }) => {
      const { left, top, width, height } = g.querySelector(".kv-dot").getBoundingClientRect();
      return Math.hypot(left + width / 2 - clientX, top + height / 2 - clientY);
    };
    return [...this.messages.keys()].reduce((best, other) => (away(this.messages.get(other)) + 1 < away(this.messages.get(best)) ? other : best), id);
  }

  aside([x, y], { packet: { from, to }, side }, placed) { // as far beside its way that it covers no other dot
    const meets = (by) => placed.filter(({ at, packet }) => Math.hypot(x + side.x * by - at[0], y + side.y * by - at[1])
      < (packet.from === from && packet.to === to ? APART : 7) - 0.01);
    let by = 0;
    for (let k = 0, [met] = meets(0); met && k < MOST_ASIDE; k++, [met] = meets(by)) {
      const far = met.packet.from === from && met.packet.to === to ? APART : 7, [dx, dy] = [x - met.at[0], y - met.at[1]];
      const b = side.x * dx + side.y * dy;
      by = -b + Math.sqrt(Math.max(0, b * b - dx * dx - dy * dy + far * far)); // rides round it
    }
    return [x + side.x * by, y + side.y * by];
  }

  drawTime(line) {
    const placed = [], taken = Object.values(this.at).map(({ x, y }) => [x - TIMER + 3, y - R - 18, x + TIMER - 3, y + TIMER - 3]);
    for (const message of this.messages.values()) {
      const stays = still.matches && message.at && !this.dragged; // nothing moves that was seen once
      const [x, y] = message.at = stays ? message.at : this.aside(this.spot(message, this.way(line, message.packet)), message, placed);
      placed.push(message);
      message.g.setAttribute("transform", `translate(${x.toFixed(1)},${y.toFixed(1)})`);
      taken.push([x - 7, y - 7, x + 7, y + 7]);
    }
    for (const message of this.messages.values()) this.placeLabel(message, taken);
    for (const [name, { arc }] of this.nodes) {
      const timer = line.get(name, "timer");
      const left = timer ? Math.max(0, Math.min(1, 1 - (line.us - timer[0]) / timer[1])) : 0;
      const shown = (100 * left).toFixed(2);
      if (arc.shown !== shown) { // what is left ends at twelve o'clock
        arc.shown = shown;
        arc.setAttribute("stroke-dasharray", `${shown} 200`);
        arc.setAttribute("stroke-dashoffset", shown - 100);
      }
      arc.classList.toggle("kv-late", left > 0 && left < 0.2);
    }
  }

  placeLabel(message, taken) { // where it covers nothing; if there is no such place, nowhere
    const { text, places, wide, at: [x, y] } = message;
    const free = [message.place, 0, 1, 2, 3].find((k) => {
      const [left, top] = [x + places[k].x - places[k].part * wide, y + places[k].y - 10];
      const box = [left, top, left + wide, top + 13];
      if (taken.some((t) => t[0] < box[2] && box[0] < t[2] && t[1] < box[3] && box[1] < t[3])) return false;
      taken.push(box);
      return true;
    });
    text.classList.toggle("kv-away", free === undefined);
    if (free === undefined) return;
    message.place = free;
    set(text, "x", places[free].x);
    set(text, "y", places[free].y);
    set(text, "text-anchor", places[free].anchor);
  }

  pass(line, row) { // something to see at the moment a row goes by: a loss, a change of role
    if (still.matches) return;
    if (row.packet && this.bench.player.follows) this.echo(row.packet);
    if (row.ended.length && row.text && !row.merged) {
      const message = this.messages.get(row.ended[0]);
      if (message) {
        const [x, y] = this.spot(message, this.way(line, message.packet));
        this.mark(make("path", { class: "kv-lost", d: `M${x - 6},${y - 6} l12,12 m-12,0 l12,-12` }));
      }
    }
    for (const [key, , now] of row.patches) {
      const [name, field] = key.split(".");
      if (field === "role" && this.at[name] && now !== "follower") {
        const { x, y } = this.at[name];
        const flare = make("circle", { class: "kv-flare", cx: x, cy: y, r: R });
        flare.setAttribute("style", this.bench.colours(line.get(name, "term")));
        this.mark(flare);
      }
    }
  }

  mark(element) {
    element.addEventListener("animationend", () => element.remove());
    if (this.marks.childElementCount < 24) this.marks.append(element);
  }
}

// The logs ------------------------------------------------------------------------------------

const NARROW = 58, WIDE = 118, PAD = 52, COLUMNS = ["term", "vote", "commit", "applied", "revision"];

class Logs {
  constructor(bench) {
    this.bench = bench;
    this.heads = make("div", { class: "kv-heads", role: "table", "aria-label": "What each node knows" });
    this.lane = make("div", { class: "kv-lane" });
    this.strips = make("div", { class: "kv-strips", tabindex: 0, role: "region",
      "aria-label": "Log entries by index: arrows scroll, Enter goes to an entry", onscroll: () => this.scrolled() }, this.lane);
    this.root = make("div", { class: "kv-logs" }, this.heads, this.strips);
    this.cells = new Map();
    this.flags = new Map();
    Object.assign(this, { rows: [], cell: NARROW, left: 0, sized: 0, behind: false });
    this.stick = true; // stay at the newest entries until somebody scrolls back
  }

  layout(names) {
    Object.assign(this, { names, axisKey: "" });
    this.cells.clear();
    this.flags.clear();
    const cell = (role, ...inside) => make("span", { role }, ...inside);
    const head = make("div", { class: "kv-row kv-first", role: "row" }, make("span", { class: "kv-who", role: "columnheader" }, "node"),
      ...COLUMNS.map((column) => cell("columnheader", column === "revision" ? "rev" : column)));
    this.rows = names.map((name) => {
      const figures = COLUMNS.map(() => cell("cell"));
      const who = make("span", { class: "kv-who", role: "rowheader" }, make("i", { class: "kv-sign" }), name);
      return { name, figures, row: make("div", { class: "kv-row", role: "row" }, who, ...figures),
        fold: make("div", { class: "kv-fold", hidden: true }),
        strip: make("div", { class: "kv-strip", role: "group", "aria-label": `log of ${name}` }) };
    });
    this.root.classList.toggle("kv-dense", names.length > 5);
    this.axis = make("div", { class: "kv-axis", "aria-hidden": true });
    this.heads.replaceChildren(head, ...this.rows.map(({ row }) => row));
    this.rows.forEach(({ strip, fold }) => strip.append(fold));
    this.lane.replaceChildren(this.axis, ...this.rows.map(({ strip }) => strip));
  }

  key(event) { // one tab stop for all cells: Enter goes in, arrows walk, Escape leaves
    const { activeElement } = document, keys = [...this.cells.keys()];
    const here = keys.find((key) => this.cells.get(key) === activeElement);
    const [name, index] = here ? here.split(" ") : [];
    const row = this.names.indexOf(name);
    const goal = !here ? event.key === "Enter" && keys[keys.length - 1]
      : { ArrowLeft: `${name} ${+index - 1}`, ArrowRight: `${name} ${+index + 1}`,
        ArrowUp: `${this.names[row - 1]} ${index}`, ArrowDown: `${this.names[row + 1]} ${index}` }[event.key];
    if (here && event.key === "Escape") this.strips.focus();
    if (!goal) return here !== undefined && event.key.startsWith("Arrow");
    if (this.cells.has(goal)) this.cells.get(goal).focus();
    event.preventDefault();
    return true;
  }

  resized(line) { // or shown again
    if (this.stick) this.strips.scrollLeft = this.strips.scrollWidth;
    this.sized = this.strips.clientWidth;
    this.left = this.strips.scrollLeft;
    if (this.line) this.drawCells(line);
  }

  scrolled() {
    const { scrollLeft, clientWidth } = this.strips;
    // Where the width is new, or there is none, the page has scrolled it, and nobody wants to stay there.
    if (clientWidth && this.sized === clientWidth) this.stick = scrollLeft + clientWidth >= this.lane.offsetWidth - 4;
    this.left = scrollLeft;
    this.strips.classList.toggle("kv-more", scrollLeft > PAD - 4);
    if (this.line) this.drawCells(this.line);
  }

  drawState(line) {
    if (!this.rows.length) return; // a trace of nothing
    this.line = line;
    let longest = 0;
    for (const { name, figures, row } of this.rows) {
      const role = line.get(name, "role") || "follower";
      set(row, "data-role", role);
      set(row, "style", this.bench.colours(line.get(name, "term") || 0));
      set(row.querySelector(".kv-sign"), "title", role);
      COLUMNS.forEach((column, k) => say(figures[k], line.get(name, column) ?? "–"));
      longest = Math.max(longest, this.last(line, name));
    }
    this.widen(line);
    const wide = PAD + longest * this.cell + Math.min(70, (this.sized || 280) / 4);
    if (this.lane.style.width !== `${wide}px`) {
      this.lane.style.width = `${wide}px`;
      this.behind = this.stick;
      if (this.stick) this.left = Math.max(0, wide - this.sized);
    }
    this.drawCells(line);
  }

  drawTime() {}
  pass() {}

  settle() { // last of all: asking where it stands makes the browser lay out what was drawn so far
    if (!this.behind) return;
    this.behind = false;
    this.strips.scrollLeft = this.strips.scrollWidth;
  }

  widen(line) { // grows with the longest command while three entries or more are in sight, never shrinks: nothing jumps back
    this.cell = Math.max(this.cell, Math.min(WIDE, 18 + 6.7 * line.longest, (this.sized || 0) / 3.5));
    this.lane.style.setProperty("--kv-cell", `${this.cell - 4}px`);
  }

  last(line, name) { return line.base(name) + (line.get(name, "log") || []).length; }

  drawCells(line) {
    const from = Math.max(1, Math.floor((this.left - PAD) / this.cell)); // `left`, `sized`: as last seen
    const to = from + Math.ceil((this.sized || 600) / this.cell) + 3;
    const seen = new Set();
    let longest = 0;
    for (const { name, strip, fold } of this.rows) {
      const base = line.base(name), log = line.get(name, "log") || [];
      const [commit, applied] = [line.get(name, "commit"), line.get(name, "applied")];
      longest = Math.max(longest, base + log.length);
      this.drawFold(fold, line.get(name, "base"), line.get(name, "snap"));
      for (let index = Math.max(from, base + 1); index <= Math.min(to, base + log.length); index++) {
        const entry = line.tables.entries[log[index - base - 1]] || [index, 0, "…"];
        const key = `${name} ${index}`;
        seen.add(key);
        this.drawCell(name, strip, entry, index, index <= commit, index <= applied);
      }
    }
    for (const [key, cell] of this.cells) if (!seen.has(key)) this.cells.delete(key), cell.remove();
    this.drawAxis(from, Math.min(to, longest));
    this.drawFlags(line);
  }

  drawFold(fold, base, snap) { // what a snapshot replaced, and one that is coming
    const text = [base && `≤ ${base[0]}${base[1] ? `@${base[1]}` : ""} snapshot`,
      snap && `${base ? "; next: " : "coming: ≤ "}${snap[0]}, ${snap[1]} of ${snap[2]} records`].filter(Boolean).join("");
    fold.hidden = !text;
    say(fold, text);
    set(fold, "title", text);
    fold.style.cssText = `left:${PAD}px;width:${Math.max(1, base ? base[0] : 4) * this.cell - 4}px`;
    fold.classList.toggle("kv-coming", !base);
  }

  drawCell(name, strip, [, term, label], index, committed, applied) {
    const key = `${name} ${index}`;
    let cell = this.cells.get(key);
    if (!cell) {
      const ask = () => this.bench.entryMenu(name, index, cell);
      cell = make("div", { class: "kv-cell", role: "button", tabindex: -1, "aria-haspopup": "menu",
        onclick: ask, onkeydown: pressed(ask) }, make("b", {}), make("small", {}));
      this.cells.set(key, cell);
      strip.append(cell);
    }
    const id = `${index}@${term}`;
    if (cell.dataset.kvEntry === id && cell.label === label && cell.wide === this.cell
      && cell.dataset.kvCommitted === String(committed) && cell.applied === applied) return;
    Object.assign(cell, { label, applied, wide: this.cell });
    set(cell, "data-kv-entry", id);
    set(cell, "data-kv-committed", committed);
    set(cell, "data-applied", applied);
    const told = `${id} ${label}${applied ? ", applied" : committed ? ", committed" : ", not committed"}`;
    set(cell, "title", told);
    set(cell, "aria-label", told);
    cell.style.cssText = `left:${PAD + (index - 1) * this.cell}px;${this.bench.colours(term)}`;
    const [what, verb] = caption(label);
    say(cell.firstChild, what);
    say(cell.lastChild, verb);
  }

  drawAxis(from, to) {
    const key = `${from} ${to} ${this.cell}`;
    if (this.axisKey === key) return;
    this.axisKey = key;
    this.axis.replaceChildren(...Array.from({ length: Math.max(0, to - from + 1) }, (_, k) => {
      const tick = make("span", {}, String(from + k));
      tick.style.left = `${PAD + (from + k - 1) * this.cell}px`;
      return tick;
    }));
  }

  drawFlags(line) { // where a leader believes its followers to be: match ends there, next begins
    for (const { name, strip } of this.rows) {
      const places = { match: {}, next: {} };
      if (line.get(name, "role") === "leader") {
        for (const peer of this.names) {
          const known = line.get(name, `peer.${peer}`);
          if (!known) continue;
          (places.match[known[0]] ||= []).push(peer);
          (places.next[known[1]] ||= []).push(peer);
        }
      }
      const key = JSON.stringify([places, this.cell]);
      if (this.flags.get(name) === key) continue;
      this.flags.set(name, key);
      strip.querySelectorAll(".kv-flag").forEach((flag) => flag.remove());
      for (const kind of ["match", "next"]) {
        const all = Object.entries(places[kind]); // by index
        for (const [k, [index, peers]] of all.entries()) {
          const beside = all[kind === "match" ? k - 1 : k + 1], names = shortNames(peers), long = 5.6 * names.length + 12;
          const room = beside ? Math.abs(beside[0] - index) * this.cell : kind === "match" ? PAD + index * this.cell : Infinity;
          const flag = make("span", { class: `kv-flag kv-${kind}`, // where the names would cover the next flag: how many
            title: `${kind} ${index}: ${peers.join(", ")}` }, long < room ? names : `${peers.length} ×`);
          flag.style.left = `${PAD + (kind === "match" ? +index : +index - 1) * this.cell - 2}px`;
          strip.append(flag);
        }
      }
    }
  }
}

function shortNames(names) { // n2 n3 n4 n7 -> 2–4 7
  const numbers = names.map((name) => (/^n\d+$/.test(name) ? +name.slice(1) : NaN));
  if (numbers.some(Number.isNaN)) return names.join(" ");
  const runs = [];
  for (const n of numbers.sort((a, b) => a - b)) {
    const last = runs[runs.length - 1];
    if (last && last[1] === n - 1) last[1] = n; else runs.push([n, n]);
  }
  return "n" + runs.map(([a, b]) => (a === b ? a : b === a + 1 ? `${a} ${b}` : `${a}–${b}`)).join(" ");
}
