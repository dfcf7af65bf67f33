// The frame of the bench: which panes are open, in which order, how large; each is drawn when
// something that it needs has changed. Panes are functions (pictures.js), but for ring and logs.
// What nobody has in sight is drawn later: when the cursor rests, or now and then while it moves.

const REST_MS = 120, LATE_MS = 1000;

class Frame {
  constructor(bench, open) {
    this.bench = bench;
    this.open = open.filter((name) => PANES[name]);
    this.large = null; // the pane that takes the whole width
    this.words = new Set(); // panes that are shown as text, too
    this.sections = new Map();
    this.chips = make("div", { class: "kv-chips", role: "toolbar", "aria-label": "Panes" });
    this.root = make("div", { class: "kv-panes" });
    this.sized = new ResizeObserver((sizes) => sizes.forEach(({ target }) => this.resized(target)));
    this.sight = new IntersectionObserver((seen) => seen.forEach((one) => this.sighted(one)), { rootMargin: "100px" });
    Object.assign(this, { late: new Set(), moved: 0, caught: 0, views: {} });
    this.arrange();
  }

  close() {
    this.sized.disconnect();
    this.sight.disconnect();
  }

  // Which are open

  toggle(name) {
    this.open = this.open.includes(name) ? this.open.filter((other) => other !== name) : [...this.open, name];
    if (this.large === name && !this.open.includes(name)) this.large = null;
    this.tell();
    if (this.open.includes(name)) {
      this.sections.get(name).section.scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
    }
  }

  shift(name, by) {
    const at = this.open.indexOf(name), to = at + by;
    if (to < 0 || to >= this.open.length) return;
    this.open = this.open.filter((other) => other !== name);
    this.open.splice(to, 0, name);
    this.tell(name, by < 0 ? "earlier" : "later");
  }

  enlarge(name) {
    this.large = this.large === name ? null : name;
    this.tell(name, "enlarge");
  }

  speak(name) {
    if (!this.words.delete(name)) this.words.add(name);
    this.tell(name, "words");
  }

  tell(name = null, action = null) { // the choice is the panel's own, and travels with it
    this.bench.keepPanes(this.open);
    this.arrange();
    const button = name && this.sections.get(name).section.querySelector(`[data-kv-action="${action}"]`);
    if (button) button.focus();
  }

  arrange() {
    morph(this.chips, Object.entries(PANES).map(([name, { title }]) => h("button", { key: name, type: "button",
      class: "kv-toggle", "aria-pressed": this.open.includes(name), "data-kv-action": "pane", "data-kv-target": name,
      title: `${this.open.includes(name) ? "Close" : "Open"} the pane ${title}`, onclick: () => this.toggle(name) }, title)));
    for (const name of this.open) if (!this.sections.has(name)) this.sections.set(name, this.make(name));
    for (const [name, { section, body }] of this.sections) {
      if (!this.open.includes(name)) {
        this.sized.unobserve(body);
        this.sight.unobserve(section);
        section.remove();
      }
    }
    let place = this.root.firstChild;
    this.pair();
    for (const name of this.open) {
      const { section, body } = this.sections.get(name);
      if (section === place) place = place.nextSibling;
      else this.root.insertBefore(section, place);
      this.sized.observe(body);
      this.sight.observe(section);
      this.dressSection(name);
    }
    if (this.bench.player) this.bench.player.dirty = true;
  }

  pair() { // two to a row; who would stand alone takes all of it
    let left = null;
    const mark = (name, cls) => ["kv-left", "kv-alone"].forEach((one) => this.sections.get(name).section.classList.toggle(one, one === cls));
    for (const name of this.open) {
      if (left && name !== this.large) mark(left, "kv-left");
      mark(name, "kv-alone");
      if (left && name !== this.large) mark(name, "");
      left = left || name === this.large ? null : name;
    }
  }

  make(name) {
    const pane = PANES[name], body = make("div", { class: "kv-body-of", "data-kv-body": name });
    const tools = make("div", { class: "kv-tools" }), words = make("pre", { class: "kv-words", tabindex: 0, hidden: true });
    if (pane.element) body.append(pane.element(this.bench));
    const section = make("section", { class: "kv-pane", "data-kv-pane": name, "aria-label": pane.title },
      make("div", { class: "kv-pane-head" }, make("b", {}, pane.title), make("span", { class: "kv-of" }), tools), body, words);
    return { section, body, tools, words, of: section.querySelector(".kv-of"), key: "", wide: 0 };
  }

  dressSection(name) {
    const { section, tools, words } = this.sections.get(name), { title } = PANES[name];
    const at = this.open.indexOf(name), large = this.large === name;
    section.classList.toggle("kv-large", large);
    const tool = (action, sign, label, act, more = {}) => h("button", { key: action, type: "button", "data-kv-action": action,
      "data-kv-target": name, "aria-label": `${label}: ${title}`, title: label, onclick: act, ...more }, sign);
    morph(tools, [
      tool("words", "¶", "As text", () => this.speak(name), { "aria-pressed": this.words.has(name) }),
      tool("earlier", "←", "Move the pane back", () => this.shift(name, -1), { disabled: at === 0 }),
      tool("later", "→", "Move the pane on", () => this.shift(name, 1), { disabled: at === this.open.length - 1 }),
      tool("enlarge", "⤢", large ? "Smaller" : "Larger", () => this.enlarge(name), { "aria-pressed": large }),
      tool("shut", "✕", "Close the pane", () => this.toggle(name))]);
    words.hidden = !this.words.has(name);
  }

  // Drawing

  resized(body) {
    const known = this.sections.get(body.dataset.kvBody);
    if (!known || known.wide === body.clientWidth) return;
    known.wide = body.clientWidth; // asked for here alone: it makes the browser lay the page out
    this.bench.player.dirty = true;
  }

  sighted({ target, isIntersecting }) {
    this.sections.get(target.dataset.kvPane).away = !isIntersecting;
    this.bench.player.dirty = true;
  }

  away(name) { return Boolean(this.sections.has(name) && this.sections.get(name).away); }

  gate(name, view) { // a view that is a pane's element: it, too, is drawn later while it is out of sight
    this.views[name] = view;
    const near = (act) => (line) => (this.open.includes(name) && this.away(name) ? 0 : act(line));
    return { drawState: near((line) => view.drawState(line)), drawTime: near((line) => view.drawTime(line)),
      pass: (line, row) => view.pass(line, row) };
  }

  drawState(line) {
    this.moved = performance.now();
    this.late.clear();
    for (const name of this.open) if (this.away(name)) this.late.add(name); else this.drawPane(name, line);
  }

  drawPane(name, line) {
    const pane = PANES[name], known = this.sections.get(name), { wide } = known;
    if (this.words.has(name)) say(known.words, pane.text(line, this.bench));
    if (pane.of) say(known.of, pane.of(line, this.bench));
    if (pane.element || !wide) return;
    const key = this.key(pane, line, wide);
    if (known.key === key) return;
    known.key = key;
    morph(known.body, pane.draw(line, this.bench, wide));
  }

  rest(line, now, playing) { // one pane a frame that is out of sight
    const [name] = this.late;
    if (!name || now - this.caught < (playing || now - this.moved < REST_MS ? LATE_MS : 0)) return;
    this.late.delete(name);
    this.caught = now;
    if (this.views[name]) {
      this.views[name].drawState(line);
      this.views[name].drawTime(line);
    }
    this.drawPane(name, line);
    this.drawPaneTime(name, line);
  }

  key(pane, line, wide) {
    const { bench } = this;
    return pane.needs.map((need) => (need === "row" ? line.place : need === "lit" ? bench.lit : need === "time" ? line.us
      : line.versions[need] || 0)).join() + ` ${wide} ${pane.version ? pane.version(bench) : ""}`;
  }

  drawTime(line) {
    for (const name of this.open) if (!this.away(name)) this.drawPaneTime(name, line);
  }

  drawPaneTime(name, line) {
    const pane = PANES[name], { body, wide } = this.sections.get(name);
    if (pane.time && wide) pane.time(line, this.bench, body);
  }

  pass() {}
}

// Ring and logs as panes ------------------------------------------------------------------------------

PANES.ring = { title: "Ring", needs: [], element: (bench) => bench.ring.svg,
  text: (line) => {
    const { leader, term } = line.lead();
    const nodes = line.nodes().map((name) => {
      const get = (field) => line.get(name, field);
      return `${name}: ${get("role")}, term ${get("term")}${get("leader") && get("leader") !== name ? `, follows ${get("leader")}` : ""}`;
    });
    const flying = [...line.flying].map((id) => line.packets.get(id)).filter((packet) => packet && packet.from)
      .map(({ from, to, label, fate }) => `on its way: ${from} → ${to} ${label}${fate ? `, will be lost: ${fate}` : ""}`);
    const cuts = (line.state.cuts || []).map((link) => `cut: ${link.replace(">", " → ")}`);
    return [`${seconds(line.us)}: ${leader ? `${leader} leads` : "no leader"}, term ${term}`, ...nodes, ...flying, ...cuts].join("\n");
  } };

PANES.logs = { title: "Logs", needs: [], element: (bench) => bench.logs.root,
  text: (line) => line.nodes().map((name) => {
    const base = line.base(name), log = line.get(name, "log") || [];
    const [commit, applied] = [line.get(name, "commit"), line.get(name, "applied")];
    const entries = log.slice(-12).map((n, k) => {
      const [index, term, label] = line.tables.entries[n] || [base + log.length - Math.min(12, log.length) + k + 1, "?", "…"];
      return `${index}@${term} ${label}${index <= applied ? " (applied)" : index <= commit ? " (committed)" : " (not committed)"}`;
    });
    return `${name}: commit ${commit}, applied ${applied}, revision ${line.get(name, "revision")}\n`
      + [base ? `  up to ${base}: snapshot` : "", log.length > 12 ? `  … ${log.length - 12} earlier` : "", ...entries.map((e) => `  ${e}`)]
        .filter(Boolean).join("\n");
  }).join("\n") };
