// The lab bench: ring and logs of one cluster on one cursor, and everything that can be done to it.
// panels.py joins player.js, views.js and this file into the one module of the widget.

const GLYPHS = { crash: "✕", restart: "↻", pause: "❙❙", resume: "▶", isolate: "⊘", heal: "⌁",
  campaign: "⚑", ask: "✎", drop: "✕", delay: "◷", deliver: "⇥", duplicate: "+", goto: "◂",
  transfer: "♛", compact: "⇤", why: "?" };

const SLOW = /^The kernel manages/; // holds for the speed it was said of, as panels.py words it
const GONE = "The kernel is gone: this is a picture of the last moment. What was recorded can still be played; "
  + "run the cell again for a live panel.";
const PROBE_MS = 3000; // so long may a kernel take to answer after its line was broken
const CROWD = "More happens than can be drawn: heartbeats and other routine messages have no dots.";

class Bench {
  constructor(model, line, el) {
    Object.assign(this, { model, line, el, theme: model.get("theme"),
      client: model.get("opening").client, side: null, awaits: null, lit: null, offline: Boolean(model.get("opening").offline),
      real: Boolean(model.get("opening").real) }); // processes, of which only the past can be played
    this.player = new Player(line, (command) => model.send(command), (term) => this.colour(term),
      model.get("speed"));
    if (this.real) Object.assign(this.player, { real: true }).toEdge();
    if (this.real) set(this.player.clock, "title", "seconds since the cluster was made");
    this.ring = new Ring(this);
    this.logs = new Logs(this);
    this.asking = new Asking(this);
    this.futures = new Futures(this);
    this.frame = new Frame(this, model.get("panes") || ["ring", "logs"]);
    this.player.views.push({ drawState: () => this.drawState(), drawTime: () => this.drawHooks(), pass() {} },
      this.frame.gate("ring", this.ring), this.frame.gate("logs", this.logs), this.frame,
      { drawState() {}, drawTime: () => this.logs.settle(), pass() {} });
    this.heard = (told) => this.take(told);
    line.watchers.add(this.heard);
    this.lives = () => this.checkKernel();
    model.on("comm_live_update", this.lives);
    this.build();
    this.player.pace.addEventListener("change", () => SLOW.test(this.notice.textContent) && say(this.notice, ""));
    this.sized = new ResizeObserver(() => this.logs.resized(line));
    this.sized.observe(this.logs.strips);
    this.theme0();
    if (model.get("opening").verdicts) this.judge(model.get("opening").verdicts);
    this.player.dirty = true;
  }

  close() {
    this.player.close();
    this.frame.close();
    this.line.watchers.delete(this.heard);
    this.model.off("comm_live_update", this.lives);
    clearTimeout(this.probe);
    this.sized.disconnect();
    document.removeEventListener("pointerdown", this.outside, true);
  }

  theme0() { // tones follow the page: CSS variables of JupyterLab, or what theme.py falls back to
    for (const [name, css] of Object.entries(this.theme.tones)) this.root.style.setProperty(`--kv-${name}`, css);
    this.root.style.setProperty("--kv-font", this.theme.font);
    this.root.style.setProperty("--kv-mono", this.theme.mono);
  }

  colour(term) {
    return term > 0 ? this.theme.palette[term % this.theme.palette.length] : this.theme.neutral;
  }

  colours(term) {
    const on = term > 0 ? this.theme.text_on[term % this.theme.palette.length] : this.theme.text_on_neutral;
    return `--term:${this.colour(term)};--on-term:${on}`;
  }

  build() {
    this.who = make("span", { class: "kv-leader" });
    this.count = make("span", { class: "kv-seq" });
    this.what = make("p", { class: "kv-what" });
    this.cause = make("p", { class: "kv-why" });
    this.hands = new Hands(this);
    Object.assign(this, { form: this.hands.form, via: this.hands.via, answer: this.hands.answer });
    this.cutter = make("div", { class: "kv-cutter" });
    this.notice = make("p", { class: "kv-notice", role: "status" });
    this.told = make("p", { class: "kv-told", role: "status" });
    this.more = make("button", { type: "button", class: "kv-all-of-it", "data-kv-action": "more", "aria-expanded": false,
      "aria-label": "All that is said", title: "All that is said", onclick: ({ currentTarget }) => set(currentTarget, "aria-expanded",
        currentTarget.parentElement.classList.toggle("kv-open")) }, "▾");
    this.player.strip.addEventListener("pointerdown", () => this.still(), true);
    this.trouble = make("p", { class: "kv-trouble", role: "alert", hidden: true });
    this.live = make("p", { class: "kv-spoken", "aria-live": "polite" });
    this.root = make("div", { class: "kvlearn-panel", "data-kv-panel": "bench", role: "group",
      "aria-label": "Lab bench: a Raft cluster", onkeydown: (event) => this.key(event) },
      make("header", { class: "kv-head" }, this.who, this.cutter, this.count),
      this.frame.chips, this.frame.root,
      make("div", { class: "kv-deck" }, make("div", { class: "kv-said" }, this.what, this.cause, this.more,
        make("div", { class: "kv-notes" }, this.notice, this.told)), this.player.strip),
      this.offline || this.real ? "" : this.futures.root,
      make("footer", { class: "kv-foot", role: "group", "aria-label": "Hands on the store" }, this.hands.root), this.trouble, this.live);
    this.root.classList.toggle("kv-offline", this.offline); // a recording has no hands
    this.root.kvBench = this; // for whoever drives the panel from outside
    this.el.append(this.root);
    this.outside = (event) => {
      if (this.menu && !this.menu.contains(event.target)) this.closeMenu(false);
      if (this.asking.box && !this.asking.box.contains(event.target)) this.asking.close(false);
    };
    document.addEventListener("pointerdown", this.outside, true);
  }

  keepPanes(open) { // so that the widget knows what is open when it is shown again
    if (this.offline) return;
    this.model.set("panes", open);
    this.model.save_changes();
  }

  light(key) { // a key of the store: all panes show where it is
    this.lit = this.lit === key ? null : key;
    this.player.dirty = true;
  }

  why(what, seq, anchor) {
    this.player.stop();
    this.closeMenu(false);
    this.asking.ask(what, seq, anchor);
  }

  goto(seq) {
    this.player.stop();
    this.player.glideOrJump(seq);
  }

  complain(text) {
    this.trouble.hidden = false;
    this.trouble.replaceChildren(text, make("button", { type: "button", "aria-label": "Dismiss",
      "data-kv-action": "dismiss", onclick: () => (this.trouble.hidden = true) }, "✕"));
  }

  checkKernel() { // its line was broken or mended: does somebody answer?
    clearTimeout(this.probe);
    this.probe = setTimeout(() => this.setGone(true), PROBE_MS);
    try {
      this.model.send(this.line.hello());
    } catch { this.setGone(true); }
  }

  setGone(gone) { // what the page holds can still be looked at
    clearTimeout(this.probe);
    if (gone === this.root.hasAttribute("data-kv-gone")) return;
    this.root.toggleAttribute("data-kv-gone", gone);
    const why = this.ended || GONE;
    this.player.gone = gone ? () => this.complain(why) : null;
    if (gone) this.player.stop();
    if (gone) this.complain(why);
    else if (this.trouble.textContent.startsWith(GONE)) this.trouble.hidden = true;
  }

  take(told) {
    this.ended = told.ended || this.ended;
    if (told.ended) {
      this.setGone(true);
      this.player.toEdge();
    }
    if (told.older === undefined && !this.ended) this.setGone(false); // those may come out of the page's own store
    if (told.error) this.complain(told.error);
    if (told.error) this.asking.fail(told.error);
    if (told.why) this.asking.take(told.why);
    this.futures.take(told);
    this.hands.take(told);
    if (told.verdicts) this.judge(told.verdicts);
    if (told.checked) this.judge({ ...(this.verdicts || { upto: -1, list: [] }), checked: told.checked });
    if (told.notice !== undefined) say(this.notice, told.notice);
    else if (told.thinned && !this.notice.textContent) say(this.notice, CROWD);
    if (told.refused) this.reply(`Refused: ${told.refused.why}.`, true);
    else if (told.rows && this.notice.textContent === CROWD) say(this.notice, "");
    this.player.dirty = true;
  }

  judge(verdicts) { // lamps: of each promise [group, name, section, state, breaking record, why, first record to judge]
    this.verdicts = { checked: this.verdicts && this.verdicts.checked, ...verdicts };
    this.line.versions.verdicts = (this.line.versions.verdicts || 0) + 1;
  }

  reply(text, bad = false) { // what was answered, where one looks: in the deck, until the next act
    say(this.told, text);
    this.told.classList.toggle("kv-told-bad", bad);
    set(this.told, "title", text);
  }

  still() { // the next act begins: what was said of the last is over
    say(this.notice, "");
    this.reply("");
    this.awaits = null;
  }

  act(op, more = {}) { // a command that changes the cluster where the cursor stands
    this.trouble.hidden = true;
    this.still();
    this.awaits = String(this.line.state[`client.${this.client}`] || "");
    this.player.goal = null;
    return this.player.ask(op, more);
  }

  ask(op, more = {}) {
    this.hands.ask(op, more);
  }

  // What does not move

  drawState() {
    const { line } = this;
    const names = line.nodes();
    if (names.length && names.join() !== (this.names || []).join()) this.setNames(names);
    const row = line.row();
    say(this.what, line.text(row));
    say(this.cause, line.why(row));
    const { leader, term } = line.lead(), [voters, outgoing] = line.conf();
    set(this.who, "style", this.colours(term));
    this.who.replaceChildren(...(leader ? [make("b", {}, leader), " leads"] : ["no leader"]),
      make("i", { class: "kv-chip" }, `term ${term}`),
      ...(outgoing.length ? [make("i", { class: "kv-joint" }, `joint: ${shortNames(voters)} and ${shortNames(outgoing)}`)] : []));
    say(this.count, this.player.busy ? "waiting for the kernel …" : row ? `record ${row.seq}` : "");
    this.drawCutter();
    this.hands.drawState(line);
    const asked = this.client && line.state[`client.${this.client}`];
    this.answer.classList.toggle("kv-bad", Boolean(asked && !asked[4]));
    set(this.answer, "title", asked && asked[3] || ""); // two lines of it are shown
    say(this.answer, !asked ? "" : asked[3] === null ? `${asked[2]}, asked at ${asked[1]} …`
      : `${asked[2]} → ${asked[3]}`);
    const answered = asked && asked[3] !== null ? asked.join() : "";
    if (this.awaits !== null && answered && answered !== this.awaits) {
      this.reply(this.answer.textContent, !asked[4]);
      this.awaits = null;
    }
    const spoken = this.player.spoken;
    if (spoken) say(this.live, line.text(spoken));
    if (this.menu && !this.menu.alive()) this.closeMenu();
  }

  setNames(names) { // again where nodes were added, or the cursor went back to before that
    const { value } = this.via, inside = this.ring.svg.contains(document.activeElement);
    this.names = names;
    this.closeMenu(false);
    this.ring.layout(names);
    this.logs.layout(names);
    if (inside) this.ring.svg.focus({ preventScroll: true });
    if (this.side) this.side = new Set(names.filter((name) => this.side.has(name)));
    this.via.replaceChildren(make("option", { value: "" }, "any node"),
      ...names.map((name) => make("option", { value: name }, name)));
    this.via.value = names.includes(value) ? value : "";
  }

  drawHooks() {
    const { leader, term } = this.line.lead(), row = this.line.row();
    set(this.root, "data-kv-time", (this.line.us / 1e6).toFixed(6));
    set(this.root, "data-kv-leader", leader);
    set(this.root, "data-kv-term", term);
    set(this.root, "data-kv-seq", row ? row.seq : this.line.seq0);
    set(this.root, "data-kv-playing", this.player.playing);
  }

  drawCutter() { // partition: choose who is on the one side; the others are on the other
    const cuts = (this.line.state.cuts || []).length, key = JSON.stringify([cuts > 0, this.side && [...this.side], this.names]);
    if (this.cutKey === key) return;
    this.cutKey = key;
    const again = (act) => () => (act(), (this.player.dirty = true));
    const tool = (action, label, act, more = {}) => make("button", { type: "button",
      "data-kv-action": action, onclick: again(act), ...more }, label);
    const parts = [];
    if (this.side) {
      parts.push(make("span", {}, "One side:"), ...this.names.map((name) => make("button", { type: "button",
        class: "kv-toggle", "aria-pressed": this.side.has(name), "data-kv-action": "side", "data-kv-target": name,
        onclick: again(() => (this.side.delete(name) || this.side.add(name))) }, name)),
        tool("cut", "cut", () => (this.act("partition", { side: [...this.side] }), (this.side = null)),
          { disabled: !this.side.size || this.side.size === this.names.length }),
        tool("cancel", "cancel", () => (this.side = null)));
    } else parts.push(tool("partition", "partition …", () => (this.side = new Set())));
    if (cuts) parts.push(tool("heal", "heal", () => this.act("heal")));
    const focused = this.cutter.contains(document.activeElement) && document.activeElement;
    this.cutter.replaceChildren(...parts);
    if (focused) this.refocus(focused);
  }

  refocus(gone) { // a control that was drawn anew keeps the focus
    const { kvAction, kvTarget } = gone.dataset;
    const same = [...this.cutter.children].find((b) => b.dataset.kvAction === kvAction && b.dataset.kvTarget === kvTarget);
    (same && !same.disabled ? same : this.cutter.querySelector("button")).focus();
  }

  // Menus

  nodeMenu(name) {
    const { line } = this, role = line.get(name, "role"), cut = (line.state.cuts || []);
    const apart = cut.some((link) => link.startsWith(`${name}>`) || link.endsWith(`>${name}`));
    const items = role === "down" ? [["restart", "restart"]] : [["crash", "crash"],
      role === "paused" ? ["resume", "resume"] : ["pause", "pause"]];
    if (role === "follower" || role === "candidate") items.push(["campaign", "time out now"]);
    if (role === "follower" && line.lead().leader) items.push(["transfer", "transfer leadership here"]);
    if (!/down|paused/.test(role) && line.get(name, "applied") > line.base(name)) items.push(["compact", "compact its log"]);
    if (this.real) items.splice(0, 9, ...items.filter(([op]) => !/campaign|compact/.test(op)));
    items.push(["isolate", "isolate"]);
    if (apart) items.push(["heal", "heal all links"]);
    if (role !== "down") items.push(["ask", "ask this node …"]);
    if (this.offline) items.length = 0;
    items.push(["why", role === "outside" ? "why is it no member?" : `why is it ${role}?`]);
    this.openMenu(this.ring.nodes.get(name).g, `${name}, ${role}`, name, items,
      () => this.ring.nodes.has(name), (op) => {
        if (op === "why") return this.why(["node", name], this.deciding(`${name}.role`), this.ring.nodes.get(name).g);
        if (op === "transfer") return this.ask(op, { to: name, node: "" });
        if (op !== "ask") return this.act(op, { node: name });
        this.via.value = name;
        this.hands.show("kv");
        return this.form.elements.key.focus();
      });
  }

  messageMenu(id) {
    if (this.player.playing || this.player.glide) this.player.stop(); // it waits while you choose
    const { line } = this, packet = line.packets.get(id), { to } = packet;
    const due = line.state[`p${id}`] ?? packet.arrives;
    const waits = line.get(to, "role") === "paused" && (this.real || due && due <= line.us); // no longer on the wire
    this.openMenu(this.ring.messages.get(id).g, `${packet.from} → ${to}: ${packet.label}`, waits ? to : id, waits
      ? [["resume", `resume ${to}: it is paused, and the message waits in its mailbox`]]
      : this.offline || this.real ? [["why", "why?"]] : [["drop", "drop"], ["delay", "delay"], ["duplicate", "duplicate"], ["deliver", "deliver now"],
        ["why", "why?"]], () => this.ring.messages.has(id), (op) => {
        if (op === "why") return this.why(["packet", id], packet.seq, this.ring.messages.get(id).g);
        return this.act(op, waits ? { node: to } : { packet: id });
      });
  }

  deciding(key) { // the record before the cursor that last changed this part of the state
    const row = this.line.rows.slice(0, this.line.place).reverse().find((other) => other.patches.some(([k]) => k === key));
    return row ? row.seq : null;
  }

  entryMenu(name, index, cell) {
    this.why(["entry", name, index], null, cell);
  }

  entryWhy(name, index) { // without a kernel: what the rows tell of an entry
    const { line } = this, known = line.get(name, "commit"), place = index - line.base(name) - 1;
    const find = (test) => line.rows.slice(0, line.place).reverse().find((row) => row.patches.some(test));
    const come = find(([key, from, , runs]) => key === `${name}.log` && runs && from <= place
      && place < from + runs.reduce((sum, [, count]) => sum + count, 0));
    const sure = find(([key, old, now]) => key === `${name}.commit` && old < index && index <= now);
    if (sure) return { sentence: [line.text(sure), line.why(sure)].filter(Boolean).join(", "), seq: sure.seq };
    const told = index <= known ? "It was committed before the records that this page holds."
      : `${name} does not know it to be committed: its commit index is ${known}.`;
    return { sentence: come ? `${told} It came so: ${line.text(come)}.` : told, seq: come ? come.seq : null };
  }

  openMenu(anchor, title, target, items, alive, act) {
    this.closeMenu(false);
    const menu = make("div", { class: "kv-menu", role: "menu", "aria-label": title }, make("b", {}, title),
      ...items.map(([op, label, goal = target]) => make("button", { type: "button", role: "menuitem",
        "data-kv-action": op || "why", "data-kv-target": goal,
        onclick: () => (this.closeMenu(op !== "ask"), act(op, goal)) },
        make("i", { "aria-hidden": true }, GLYPHS[op] || ""), make("span", {}, label))));
    this.root.append(menu);
    const [at, all] = [anchor.getBoundingClientRect(), this.root.getBoundingClientRect()];
    const left = Math.min(at.right - all.left + 4, all.width - menu.offsetWidth - 8);
    const high = menu.offsetHeight, [from, to] = inSight(this.root);
    const top = at.top + high + 8 <= to ? at.top : Math.max(from + 8, Math.min(at.bottom, to - 8) - high);
    menu.style.left = `${Math.max(8, left)}px`;
    menu.style.top = `${Math.max(8, Math.min(top - all.top, all.height - high - 8))}px`;
    Object.assign(this, { menu: Object.assign(menu, { alive, anchor }) });
    menu.querySelector("button").focus({ preventScroll: true });
  }

  closeMenu(back = true) {
    const { menu } = this;
    if (!menu) return;
    this.menu = null;
    menu.remove();
    if (back) (menu.anchor.isConnected ? menu.anchor : this.ring.svg).focus({ preventScroll: true });
  }

  // Keys: the notebook must not hear them, or "x" would cut a cell

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range";
    if (event.key === "Escape") {
      if (this.asking.box) this.asking.close();
      else if (this.menu) this.closeMenu();
      else if (this.logs.strips.contains(event.target)) this.logs.key(event);
      else this.side = null;
      this.player.dirty = true;
      return;
    }
    if (this.menu) return this.menuKey(event);
    if (typing || (this.asking.box && this.asking.box.contains(event.target))) return;
    const { player } = this;
    const keys = { ArrowLeft: () => (event.shiftKey ? player.previous() : player.back()),
      ArrowRight: () => (event.shiftKey ? player.next() : player.step()),
      PageUp: () => player.previous(), PageDown: () => player.next(), p: () => player.toggle(), n: () => player.next(),
      Home: () => player.scrub(0), End: () => player.toEdge() };
    if (event.target.tagName !== "BUTTON") keys[" "] = () => player.toggle();
    if (this.logs.strips.contains(event.target) && this.logs.key(event)) return;
    if (event.target === this.logs.strips && event.key.startsWith("Arrow")) return;
    if (!keys[event.key]) return;
    event.preventDefault();
    this.still();
    keys[event.key]();
  }

  menuKey(event) {
    const items = [...this.menu.querySelectorAll("button")], at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items.at(to % items.length).focus();
    } else if (event.key === "Tab") this.closeMenu();
  }
}

function inSight(element) { // from where to where, down the screen, one sees of what holds it
  let [from, to] = [0, innerHeight];
  for (let box = element.parentElement; box; box = box.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(box).overflowY) || box.scrollHeight <= box.clientHeight) continue;
    const { top, bottom } = box.getBoundingClientRect();
    [from, to] = [Math.max(from, top), Math.min(to, bottom)];
  }
  return [from, to];
}

export default () => { // once for each model: its views share one timeline
  const line = new Timeline();
  let views = 0;
  return {
    initialize({ model }) {
      line.take(model.get("opening"));
      let ready = line.unpack(model.get("history")); // what comes meanwhile waits for its turn
      const hear = (_, [told]) => (ready = ready.then(() => line.take(JSON.parse(new TextDecoder().decode(told)))));
      model.on("msg:custom", hear);
      return () => model.off("msg:custom", hear);
    },
    render({ model, el }) {
      const bench = new Bench(model, line, el);
      if (!views++) model.send(line.hello());
      return () => {
        bench.close();
        if (!--views) model.send({ op: "bye" });
      };
    },
  };
};
