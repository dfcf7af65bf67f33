// What all panels share: a timeline with a cursor, and the strip of controls that moves it.
// There is no Raft in here. Python sends rows of reversible patches on a flat state (see
// timeline_rows.py); this file keeps them and moves a cursor over them, with or without a kernel.
// panels.py puts a panel's own files behind it; together they are one module.

const SVG = "http://www.w3.org/2000/svg";
const still = matchMedia("(prefers-reduced-motion: reduce)");
const FLIGHT_S = 0.75, BEAT_S = 0.3; // "follow": how long a message, a heartbeat travels on screen
const SPEEDS = [["follow", "follow the messages"], [0.001, "1/1000 ×"], [0.005, "1/200 ×"],
  [0.02, "1/50 ×"], [0.1, "1/10 ×"], [1, "1 × real time"], [10, "10 ×"], [100, "100 ×"]];
const STEP = "Step to the next record (→)";
const LOW_S = 0.15, MORE_S = 0.25; // with less than this ahead, ask Python for this much more
const LISTS = /\.(log|changes|holes|swept|told|sees)$/; // keys of the state that hold lists of numbers
const GROUPS = new Map(); // key of the state -> its group
const DRAWN = /^(svg|g|circle|path|line|text|tspan|rect|title|desc|polygon|polyline|clipPath|defs|ellipse)$/;
const MOST_ROWS = 60000; // older ones are forgotten, not those of the trace in Python

// Elements ------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...inside) {
  const drawn = DRAWN.test(tag);
  const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, given] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), given);
    else if (given !== null && (given !== false || name.startsWith("aria"))) {
      element.setAttribute(name, given === true && !name.startsWith("aria") ? "" : given);
    }
  }
  element.append(...inside);
  return element;
}

function set(element, name, given) { // writes only what changed: nothing flickers
  const text = String(given);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const natural = new Intl.Collator("en", { numeric: true }).compare;

function pressed(act) { // Enter and Space press whatever has the focus
  return (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
}

// The timeline: rows, and the state where the cursor stands -------------------------------------

class Timeline {
  constructor() {
    this.watchers = new Set();
    this.who = Math.random().toString(36).slice(2, 8);
    this.clear();
  }

  clear() {
    Object.assign(this, { rows: [], place: 0, us: 0, head: 0, state: {}, packets: new Map(),
      flying: new Set(), tables: { entries: [], changes: [], forks: [] }, operations: new Map(), versions: {},
      memos: {}, longest: 0, story: [], epoch: -1, seq0: -1, complete: false, from: Infinity });
  }

  take(told) { // one update from Python
    if (told.who !== undefined && told.who !== this.who) return; // another page has asked for it
    if (told.reset !== undefined) {
      this.clear();
      this.epoch = told.reset;
      this.us = this.head = told.now;
      this.seq0 = told.seq;
      this.from = told.from ?? Infinity; // the first row that is to be unpacked
    }
    for (const [name, parts] of Object.entries(told.tables || {})) for (const [first, list] of parts) {
      list.forEach((fact, k) => {
        this.tables[name][first + k] = fact;
        if (name === "entries") this.longest = Math.max(this.longest, caption(fact[2])[0].length);
      });
      this.touch("s");
    }
    for (const pair of told.state || []) this.remember(pair);
    if (told.older) this.prepend(told.older);
    if (told.cut !== undefined) this.cut(told.cut);
    if (told.rows) this.append(told.rows);
    this.head = Math.max(told.now ?? this.head, this.lastUs());
    this.epoch = told.epoch ?? this.epoch;
    if (told.complete !== undefined) this.complete = told.complete;
    for (const watcher of this.watchers) watcher(told);
  }

  async unpack(packed) { // the older rows, which came deflated
    if (!packed || !packed.byteLength) return;
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    this.take(JSON.parse(await new Response(stream).text()));
  }

  hello() { // what this page holds, so that it is told the rest
    const facts = {};
    for (const name in this.tables) facts[name] = this.tables[name].length;
    const first = this.rows.length ? Math.min(this.from, this.rows[0].seq) : this.seq0 + 1;
    return { op: "hello", who: this.who, epoch: this.epoch, first, last: this.lastSeq(), facts };
  }

  remember([key, given]) {
    if (key === "packet") {
      const [id] = given;
      this.packets.set(id, packetOf(given, given[8]));
      this.flying.add(id);
    } else this.state[key] = LISTS.test(key) ? numbers(given) : given;
    this.touch(key);
  }

  touch(key) { // what is drawn from this group of the state is to be drawn anew
    let group = GROUPS.get(key);
    if (group === undefined) {
      [group] = key.split(".");
      if (!/^(s|w|l|page|cuts)$/.test(group)) group = "node";
      GROUPS.set(key, group);
    }
    this.versions[group] = (this.versions[group] || 0) + 1;
  }

  memo(name, groups, make) { // made anew only after one of these groups changed
    const key = groups.split(" ").map((group) => this.versions[group] || 0).join();
    const known = this.memos[name];
    if (known && known.key === key) return known.value;
    const value = make();
    this.memos[name] = { key, value };
    return value;
  }

  learn(row) { // what a row says of messages, wherever the cursor is
    if (row.packet) {
      const known = this.packets.get(row.packet[0]);
      this.packets.set(row.packet[0], Object.assign(packetOf(row.packet, row.us), known && known.end
        ? { end: known.end, lost: known.lost } : {}));
    }
    if (row.operation) this.learnOperation(row);
    for (const id of row.ended) {
      const packet = this.packets.get(id) || { id };
      packet.end = row.us;
      packet.lost = row.text !== "" && !row.merged;
      this.packets.set(id, packet);
    }
  }

  learnOperation({ operation: [id, client, node, text, ok, unknown], us, seq }) {
    const known = this.operations.get(id) || { id, client, node, request: "…", us: this.firstUs() };
    const told = ok === undefined ? { request: text, us, seq } : { answer: text, ok, unknown, end: us, endSeq: seq };
    this.operations.set(id, Object.assign(known, told));
  }

  append(rows) {
    for (const told of rows) {
      const row = rowOf(told);
      if (row.seq <= this.lastSeq()) continue;
      if (row.seq > this.lastSeq() + 1 && !row.merged) this.gap = true; // told to an earlier page
      this.learn(row);
      this.rows.push(row);
      if (isStory(row)) this.story.push(row);
    }
    if (this.rows.length > MOST_ROWS && this.place > MOST_ROWS / 4) this.forget(MOST_ROWS / 6);
  }

  prepend(rows) {
    const older = rows.map(rowOf).filter((row) => !this.rows.length || row.seq < this.rows[0].seq);
    older.forEach((row) => this.learn(row));
    this.rows = older.concat(this.rows);
    this.story = older.filter(isStory).concat(this.story);
    this.place += older.length;
  }

  forget(count) {
    const gone = this.rows.splice(0, count);
    this.place -= count;
    this.complete = false;
    for (const row of gone) for (const id of row.ended) this.packets.delete(id);
  }

  cut(seq) { // what lies behind was rewound: it has not happened
    while (this.place && this.rows[this.place - 1].seq >= seq) this.back();
    // Before the first row that is held: what the state was there is not known.
    if (this.rows.length ? this.rows[0].seq > seq : this.seq0 >= seq) this.gap = true;
    const gone = this.rows.splice(this.firstAfter((row) => row.seq >= seq));
    for (const row of gone) {
      if (row.packet) this.packets.delete(row.packet[0]);
      for (const id of row.ended) if (this.packets.has(id)) this.packets.get(id).end = undefined;
      if (!row.operation) continue;
      const asked = this.operations.get(row.operation[0]);
      if (row.operation.length === 4) this.operations.delete(row.operation[0]);
      else if (asked) Object.assign(asked, { end: undefined, answer: undefined, ok: undefined });
    }
    this.story = this.story.filter((row) => row.seq < seq);
    this.seq0 = Math.min(this.seq0, seq - 1); // where the panel opened may itself have been undone
    this.head = this.lastUs();
    this.us = Math.min(this.us, this.head);
  }

  forward() {
    const row = this.rows[this.place++];
    for (const patch of row.patches) this.patch(patch, true);
    for (const id of row.ended) this.flying.delete(id);
    if (row.packet) this.flying.add(row.packet[0]);
    this.us = Math.max(this.us, row.us);
    return row;
  }

  back() {
    const row = this.rows[--this.place];
    for (let k = row.patches.length - 1; k >= 0; k--) this.patch(row.patches[k], false);
    if (row.packet) this.flying.delete(row.packet[0]);
    for (const id of row.ended) this.flying.add(id);
    this.us = this.place ? this.rows[this.place - 1].us : Math.min(this.us, row.us);
    return row;
  }

  patch([key, a, b, c], forwards) {
    this.touch(key);
    if (c !== undefined) { // a log: at place a, entries b went and c came
      const log = this.state[key] || (this.state[key] = []);
      const [gone, come] = [numbers(b), numbers(c)];
      log.splice(a, (forwards ? gone : come).length, ...(forwards ? come : gone));
    } else this.state[key] = forwards ? b : a;
  }

  seek(us) { // the moment at this time
    while (this.place && this.rows[this.place - 1].us > us) this.back();
    while (this.place < this.rows.length && this.rows[this.place].us <= us) this.forward();
    this.us = Math.max(this.firstUs(), Math.min(us, this.head));
  }

  toRow(place) { // the moment just after a number of rows
    while (this.place > place) this.back();
    while (this.place < place) this.forward();
  }

  firstAfter(test) { // binary search: the first row for which `test` holds
    let low = 0, high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (test(this.rows[middle])) high = middle; else low = middle + 1;
    }
    return low;
  }

  row() { return this.place ? this.rows[this.place - 1] : null; }
  bySeq(seq) {
    const row = this.rows[this.firstAfter((other) => other.seq >= seq)];
    return row && row.seq === seq ? row : null;
  }
  lastSeq() { return this.rows.length ? this.rows[this.rows.length - 1].seq : this.seq0; }
  lastUs() { return this.rows.length ? this.rows[this.rows.length - 1].us : this.us; }
  firstUs() { return this.complete ? 0 : this.rows.length ? this.rows[0].us : this.us; }
  get(node, field) { return this.state[`${node}.${field}`]; }
  base(node) { return (this.get(node, "base") || [0])[0]; } // the index before the first entry

  nodes() {
    return this.memo("nodes", "node", () => Object.keys(this.state)
      .filter((key) => key.endsWith(".role") && this.state[key]).map((key) => key.slice(0, -5)).sort(natural));
  }

  lead() { // who leads, of several in the highest term, and that term; else the highest of anybody
    let [leader, best, term] = ["", -1, 0];
    for (const name of this.nodes()) {
      const t = this.get(name, "term") || 0;
      term = Math.max(term, t);
      if (this.get(name, "role") === "leader" && t > best) [leader, best] = [name, t];
    }
    return { leader, term: leader ? best : term };
  }

  conf() { // voters, outgoing voters, learners: as the leader counts, else as whoever has applied most
    const [most] = [...this.nodes()].sort((a, b) => this.get(b, "applied") - this.get(a, "applied"));
    return this.get(this.lead().leader || most, "conf") || [[], [], []];
  }

  rate(speed, flying = this.flying) { // virtual microseconds in a microsecond of the screen
    if (speed !== "follow") return speed;
    let count = 0, sum = 0, beats = true;
    for (const id of flying) {
      const packet = this.packets.get(id);
      if (!packet || !packet.arrives) continue;
      const beat = packet.kind.startsWith("beat");
      if (beats && !beat) [beats, count, sum] = [false, 0, 0];
      if (beat === beats) { count++; sum += packet.arrives - packet.us; }
    }
    return count ? Math.min(1, Math.max(0.0005, sum / count / 1e6 / (beats ? BEAT_S : FLIGHT_S))) : 1;
  }

  ahead(speed, enough_s) { // how many seconds of the screen are there before the known end
    const flying = new Set(this.flying);
    let us = this.us, wall = 0;
    for (let k = this.place; k < this.rows.length && wall < enough_s; k++) {
      const row = this.rows[k];
      wall += (row.us - us) / 1e6 / this.rate(speed, flying);
      us = row.us;
      row.ended.forEach((id) => flying.delete(id));
      if (row.packet) flying.add(row.packet[0]);
    }
    return wall < enough_s ? wall + (this.head - us) / 1e6 / this.rate(speed, flying) : wall;
  }

  play(dt_s, speed, pass) { // go on by a time of the screen, until the known end or `pass` says stop
    while (dt_s > 0) {
      const next = this.rows[this.place];
      const goal = next ? next.us : this.head;
      const rate = this.rate(speed) * 1e6;
      const need = (goal - this.us) / rate;
      if (need > dt_s) {
        this.us += dt_s * rate;
        return;
      }
      this.us = Math.max(goal, this.us);
      dt_s -= need;
      if (!next || pass(this.forward())) return;
    }
  }

  text(row) {
    if (!row) return "Nothing has happened yet.";
    if (row.text) return row.text;
    if (row.packet) {
      const [, from, to, label, , , , fate] = row.packet;
      return `${from} sends ${label} to ${to}${fate ? ` (${fate})` : ""}`;
    }
    const packet = this.packets.get(row.ended[0]);
    return packet && packet.from ? `${packet.to} receives ${packet.label} from ${packet.from}` : "";
  }

  why(row) {
    const told = [];
    for (let cause = row && row.cause; cause !== null && told.length < 3;) {
      const led = this.bySeq(cause);
      if (!led) break;
      told.push(this.text(led));
      cause = led.cause;
    }
    return told.length ? `because ${told.join(" ← ")}` : "";
  }
}

function rowOf([seq, us, text = "", patches = [], cause = null, weight = 0, packet = null, ended = [],
  merged = 0, operation = null]) {
  return { seq, us, text, patches, cause, weight, packet, ended, merged, operation };
}

function numbers(runs) { // (first, count), ... -> the numbers themselves
  return runs.flatMap(([first, count]) => Array.from({ length: count }, (_, k) => first + k));
}

function caption(label) { // "put a=1" -> what, and the verb below it
  const [verb, ...rest] = label.split(" ");
  if (/^([-+~]|leave )/.test(label)) return [label.split(" (")[0], "conf"]; // +n4 -n1
  return rest.length ? [rest.join(" "), verb] : [label, ""];
}

function isStory(row) { // worth a place on the time band: news, and new terms
  return row.weight > 1 || row.patches.some(([key]) => key.endsWith(".term"));
}

function packetOf([id, from, to, label, kind, term, arrives, fate], us) {
  return { id, from, to, label, kind, term, arrives, fate, us };
}

// The player: plays, steps, glides; owns the strip of controls ----------------------------------

const ICONS = { play: "M4 2.2v11.6L13.4 8z", stop: "M3.6 2.6h3.2v10.8H3.6zM9.2 2.6h3.2v10.8H9.2z",
  back: "M3 3h1.9v10H3zM13 3v10L5.6 8z", step: "M3 3v10l7.4-5zM11.1 3H13v10h-1.9z",
  next: "M1.6 3v10L8 8zM8 3v10l6.4-5z" };

function icon(name) {
  return make("svg", { viewBox: "0 0 16 16", "aria-hidden": true }, make("path", { d: ICONS[name] }));
}

function clockText(us) { return (us / 1e6).toFixed(6).replace(/(\d{3})$/, "\u2009$1"); }

class Player {
  constructor(line, send, colour, speed) {
    Object.assign(this, { line, send, colour, views: [], playing: false, speed, asked: false,
      glide: null, until: null, goal: null, remark: true, shown: line.us, last: 0, number: 0, waiting: null,
      real: false, follows: false }); // real time: it goes on by itself, and is followed or looked back at
    const button = (action, label, act) => make("button", { type: "button", "data-kv-action": action,
      "aria-label": label, title: label, onclick: act }, icon(action));
    this.buttons = {
      back: button("back", "Back by one record (←)", () => this.back()),
      play: button("play", "Play (P)", () => this.toggle()),
      step: button("step", STEP, () => this.step()),
      next: button("next", "On to the next decision (N)", () => this.next()) };
    this.slider = make("input", { type: "range", min: 0, max: 1, step: 1, value: 0, class: "kv-slider",
      "aria-label": "Time", oninput: () => this.scrub(+this.slider.value) });
    this.band = make("svg", { class: "kv-band", preserveAspectRatio: "none", "aria-hidden": true });
    this.clock = make("span", { class: "kv-clock", title: "virtual time at the cursor" });
    this.pace = make("select", { "aria-label": "Speed", title: "Speed", onchange: () => {
      this.speed = this.pace.value === "follow" ? "follow" : +this.pace.value;
      this.asked = false;
    } }, ...SPEEDS.map(([value, label]) => make("option", { value }, label)));
    if (!SPEEDS.some(([value]) => value === speed)) this.pace.append(make("option", { value: speed }, `${speed} ×`));
    this.pace.value = speed;
    this.edge = make("button", { type: "button", class: "kv-edge", "data-kv-action": "now",
      title: "To the newest moment (End)", onclick: () => this.toEdge() }, "now");
    this.strip = make("div", { class: "kv-strip-controls", role: "group", "aria-label": "Time controls" },
      make("div", { class: "kv-buttons" }, ...Object.values(this.buttons)), this.clock,
      make("div", { class: "kv-track-box" }, this.band, this.slider), this.edge, this.pace);
    this.heard = (told) => this.take(told);
    line.watchers.add(this.heard);
    this.frame = requestAnimationFrame((t) => this.tick(t));
  }

  close() {
    this.line.watchers.delete(this.heard);
    cancelAnimationFrame(this.frame);
  }

  // Asking Python: a command is answered by an update with its number

  ask(op, more = {}) {
    const { line } = this;
    if (this.gone) return this.gone(); // nobody would answer
    const command = { op, id: ++this.number, seq: line.row() ? line.row().seq : line.seq0, us: Math.round(line.us),
      live: this.real ? this.follows : this.isLive(), seen: Math.round(this.shown), speed: this.speed, epoch: line.epoch, ...more };
    if (op !== "more") this.waiting = { id: command.id, since: performance.now() };
    this.send(command);
    return command.id;
  }

  isLive() { return this.playing && this.line.us >= this.shown - 0.5 && this.line.ahead(this.speed, 1) < 1; }

  take(told) {
    const { line } = this;
    const mine = this.asked; // time that this page asked for is played, not run through
    if (told.fed) this.asked = false;
    if (told.error && !this.real) this.stop();
    if (line.gap) {
      line.gap = false;
      this.send({ ...line.hello(), epoch: -1 });
    }
    if (told.done && this.waiting && told.done >= this.waiting.id) this.waiting = null;
    if (told.reset !== undefined || told.cut !== undefined) {
      this.glide = null; // to somewhere that has not happened
      this.shown = Math.min(this.shown, line.head);
    }
    if (told.reset !== undefined) this.shown = line.us;
    if (told.goal !== undefined) this.goal = told.goal;
    const following = this.real ? this.follows : line.us >= this.shown - 0.5;
    if (this.real) this.shown = Math.max(this.shown, line.head); // all that was told can be looked at
    if (told.snap) this.toEdge();
    else if (this.goal !== null && line.lastSeq() >= this.goal) this.reach();
    else if (this.goal === null && (told.rows || this.real) && !mine && following && !this.playing) this.toEdge(350);
    this.dirty = this.remark = true;
    if (told.snap) this.draw(); // the answer to a click: not a frame later than need be
  }

  reach() { // the record that was asked for has come
    const row = this.line.rows[this.line.firstAfter((other) => other.seq >= this.goal)];
    this.goal = null;
    this.glideTo(row.seq, 450);
  }

  // Moving the cursor

  toggle() {
    if (this.playing || this.follows) this.stop();
    else if (this.real && this.line.us >= this.line.head) this.toEdge();
    else this.play();
  }

  play(until = null) {
    Object.assign(this, { playing: true, until, glide: null, follows: false });
    this.showPlaying();
  }

  stop() {
    Object.assign(this, { playing: false, until: null, glide: null, follows: false });
    this.showPlaying();
  }

  showPlaying() {
    const { play } = this.buttons, on = this.playing || this.follows, action = on ? "stop" : "play";
    set(play, "data-kv-action", action);
    set(play, "aria-label", !on ? "Play (P)" : this.follows ? "Hold the picture (P)" : "Pause (P)");
    set(play, "title", play.getAttribute("aria-label"));
    play.replaceChildren(icon(action));
    this.dirty = true;
  }

  back() {
    this.stop();
    if (this.line.place) this.line.toRow(this.line.place - 1);
    this.dirty = true;
  }

  step() {
    this.stop();
    if (this.line.place < this.line.rows.length) this.pass(this.line.forward());
    else this.goOn("step");
    this.dirty = true;
  }

  next() { // glide to the next record that decides something
    this.stop();
    const { line } = this;
    let place = line.place;
    while (place < line.rows.length && !line.rows[place].weight) place++;
    if (place < line.rows.length) this.glideTo(line.rows[place].seq, 450);
    else this.goOn("next");
  }

  goOn(op) { // of what is known: there is nothing to wait for where time is real
    if (this.real) this.toEdge();
    else this.ask(op);
  }

  previous() {
    this.stop();
    let place = this.line.place - 1;
    while (place > 0 && !this.line.rows[place - 1].weight) place--;
    this.line.toRow(Math.max(0, place));
    this.dirty = true;
  }

  scrub(us) {
    this.stop();
    this.line.seek(us);
    this.dirty = true;
  }

  jump(us) {
    this.glide = null;
    while (this.line.place < this.line.rows.length && this.line.rows[this.line.place].us <= us) {
      this.pass(this.line.forward());
    }
    this.line.seek(us);
    this.dirty = true;
  }

  toEdge(within_ms = 0) {
    if (this.real && !this.gone && !this.follows) {
      Object.assign(this, { playing: false, follows: true });
      this.showPlaying();
    }
    if (within_ms) this.glideTo(this.line.lastSeq(), within_ms);
    else this.jump(this.line.head);
  }

  glideOrJump(seq) { // to a record on either side of the cursor
    const place = this.line.firstAfter((row) => row.seq > seq);
    if (place > this.line.place) this.glideTo(seq, 450);
    else this.line.toRow(place);
    this.dirty = true;
  }

  glideTo(seq, within_ms) { // time runs there quickly, so that one sees what happens on the way
    const { line } = this;
    const place = line.firstAfter((row) => row.seq > seq), last = line.rows[place - 1];
    const to = place === line.rows.length ? line.head : last ? last.us : 0;
    this.glide = { from: line.us, to, seq, start: performance.now(), within_ms };
    if (still.matches || to <= line.us) this.slide(Infinity);
  }

  // Frames

  tick(now) {
    this.frame = requestAnimationFrame((t) => this.tick(t));
    const dt = Math.min(0.1, (now - (this.last || now)) / 1000);
    this.last = now;
    if (this.glide) this.slide(now);
    else if (this.playing) this.run(dt);
    if (this.waiting && now - this.waiting.since > 500) this.dirty = true;
    if (this.drawn !== this.line.place || this.dirty) this.draw(); // another view may have moved it
    else if (this.drawnUs !== this.line.us) this.drawTime();
    for (const view of this.views) if (view.rest) view.rest(this.line, now, this.playing);
  }

  run(dt) {
    const { line } = this;
    line.play(dt, this.speed, (row) => {
      this.pass(row);
      if (this.until && this.until(row)) this.stop();
      return !this.playing;
    });
    if ((this.gone || this.real) && line.us >= line.head) {
      this.stop();
      if (this.real) this.toEdge();
    } else if (!this.real && !this.asked && this.playing && line.ahead(this.speed, LOW_S) < LOW_S) {
      this.asked = true;
      this.ask("more", { wall_s: MORE_S });
    }
  }

  slide(now) {
    const { line } = this, { from, to, seq, start, within_ms } = this.glide;
    const part = Math.min(1, (now - start) / within_ms);
    const us = part < 1 ? from + (to - from) * (1 - (1 - part) ** 2) : Math.max(to, line.us);
    const due = (row) => row && row.seq <= seq && (part === 1 || row.us <= us);
    while (due(line.rows[line.place])) this.pass(line.forward());
    line.us = Math.max(line.us, us);
    if (part === 1) this.glide = null;
    this.dirty = true;
  }

  pass(row) {
    for (const view of this.views) view.pass(this.line, row);
    if (row.weight > 1) this.spoken = row;
  }

  draw() {
    const { line } = this;
    this.dirty = false;
    this.drawn = line.place;
    this.busy = Boolean(this.waiting && performance.now() - this.waiting.since > 500);
    for (const view of this.views) view.drawState(line);
    if (this.remark) this.drawBand();
    this.remark = false;
    set(this.buttons.back, "aria-disabled", !line.place);
    const next = line.rows[line.place], told = next && next.merged > 1
      ? `On over ${next.merged} records of routine traffic that were told as one (→)` : STEP;
    set(this.buttons.step, "title", told);
    set(this.buttons.step, "aria-label", told);
    this.drawTime();
  }

  drawTime() {
    const { line } = this;
    this.drawnUs = line.us;
    this.shown = Math.max(this.shown, line.us);
    say(this.clock, `${clockText(line.us)} s`);
    set(this.slider, "min", Math.floor(line.firstUs()));
    const shown = this.follows ? line.us : this.shown; // who follows is at the end
    set(this.slider, "max", Math.ceil(Math.max(shown, line.firstUs() + 1)));
    this.slider.value = line.us;
    set(this.slider, "aria-valuetext", `${(line.us / 1e6).toFixed(3)} seconds`);
    const past = this.real ? !this.follows : line.us < this.shown - 0.5;
    this.edge.classList.toggle("kv-past", past);
    set(this.edge, "aria-pressed", !past);
    const first = line.firstUs();
    set(this.band, "viewBox", `${first / 1e3} 0 ${Math.max(1, shown - first) / 1e3} 10`);
    for (const view of this.views) view.drawTime(line);
  }

  // The stretch of each term in its colour, with a mark for what is worth telling. In milliseconds:
  // browsers cut lengths off at 2^25, which as microseconds would be half a minute.
  drawBand() {
    const { line } = this;
    const parts = [], marks = [];
    let term = null, since = line.firstUs();
    const stretch = (to) => term && parts.push(make("rect", { x: since / 1e3, y: 2,
      width: Math.max(0, to - since) / 1e3, height: 6, fill: this.colour(term) }));
    for (const row of line.story) {
      for (const [key, old, now] of row.patches) {
        if (!key.endsWith(".term") || now === null || now <= (term ?? old ?? 0)) continue;
        term ??= old ?? 0;
        stretch(row.us);
        [term, since] = [now, row.us];
      }
      if (row.weight > 1) marks.push(make("line", { x1: row.us / 1e3, x2: row.us / 1e3, y1: 0, y2: 10 }));
    }
    term ??= Math.max(0, ...Object.keys(line.state).filter((k) => k.endsWith(".term")).map((k) => line.state[k]));
    stretch(Math.max(line.head, since));
    const key = `${parts.length} ${marks.length} ${line.rows.length && line.rows[0].seq} ${line.lastSeq()}`;
    if (this.bandKey === key) return;
    this.bandKey = key;
    this.band.replaceChildren(...parts, ...marks);
  }
}
