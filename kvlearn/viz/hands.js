// Hands on the store: the forms at the foot of the bench, and the lines of Python that do the same.
// What is typed goes to the kernel as text; hands.py reads it, and says which field makes no sense.

const TABS = { kv: "key-value", txn: "transaction", watch: "watch", lease: "lease", compact: "compact", members: "members" };
const SPANS = [["one", "this key"], ["prefix", "all that begin so"], ["range", "from here up to"], ["from_key", "this and above"]];
const CLOSED = "its client is gone"; // so the trace tells of a stream that was closed
const UNANSWERED = /^(watch|unwatch|lease_keep|lease_unkeep)$/; // nothing to wait for

class Hands {
  constructor(bench) {
    Object.assign(this, { bench, tab: "kv", lines: new Map(), kept: [], opened: false, edited: false, number: 0, timer: 0, seen: "", before: null });
    this.id = `kv-${Math.random().toString(36).slice(2, 8)}`;
    this.via = make("select", { name: "via", "aria-label": "Ask which node", form: `${this.id}-form` });
    this.answer = make("output", { class: "kv-reply" });
    this.own = make("output", { class: "kv-reply", hidden: true });
    this.note = make("p", { class: "kv-refused", role: "alert", id: `${this.id}-note` });
    this.panels = { kv: this.makeKv(), txn: this.makeTxn(), watch: this.makeWatch(), lease: this.makeLease(),
      compact: this.makeCompact(), members: this.makeMembers() };
    this.tabs = make("div", { class: "kv-tabs", role: "tablist", "aria-label": "Hands on the store", onkeydown: (event) => this.tabKey(event) },
      ...Object.entries(TABS).map(([name, title]) => make("button", { type: "button", role: "tab", id: `${this.id}-${name}`, "data-kv-action": "tab",
        "data-kv-target": name, "aria-controls": `${this.id}-p-${name}`, onclick: () => this.show(name) }, title)));
    this.python = make("div", { class: "kv-python" });
    this.root = make("div", { class: "kv-hands" }, make("div", { class: "kv-hands-head" }, this.tabs, this.label("at", this.via)),
      ...Object.values(this.panels), this.note, this.answer, this.own, this.python);
    this.root.addEventListener("input", (event) => {
      event.target.removeAttribute("aria-invalid");
      if (!this.root.querySelector("[aria-invalid]")) say(this.note, "");
    });
    this.show("kv");
    this.drawPython();
  }

  // Parts

  called(field) { return { name: `${this.prefix}${field}`, "data-kv-field": field }; } // names are of one form only
  at(field, within) { return within.querySelector(`[data-kv-field="${field}"]`); }
  label(words, control) { return make("label", {}, words && make("span", {}, words), control); }
  field(name, words, more = {}) {
    return this.label(words, make("input", { ...this.called(name), autocomplete: "off", spellcheck: "false", size: 9, "aria-describedby": `${this.id}-note`, ...more }));
  }
  choice(name, words, options, more = {}) {
    return this.label(words, make("select", { ...this.called(name), "aria-describedby": `${this.id}-note`, ...more }, ...options.map(([value, told]) => make("option", { value }, told))));
  }
  tick(name, words) { return make("label", {}, make("input", { ...this.called(name), type: "checkbox" }), make("span", {}, words)); }
  button(action, words, act, more = {}) {
    return make("button", { type: "button", "data-kv-action": action, onclick: act, ...more }, words);
  }

  panel(name, words, submit, ...inside) {
    const form = make("form", { class: "kv-ask", "aria-label": words, id: name === "kv" ? `${this.id}-form` : null, onsubmit: (event) => {
      event.preventDefault();
      if (submit) submit();
    } }, ...inside);
    return Object.assign(make("div", { role: "tabpanel", id: `${this.id}-p-${name}`, "aria-labelledby": `${this.id}-${name}`, class: "kv-hand" }, form), { form });
  }

  span() { // which keys: one, a prefix, an interval
    const end = this.field("range_end", "to, without it");
    end.hidden = true;
    return [this.field("key", "key", { value: "a" }), this.choice("span", "", SPANS, { "aria-label": "Which keys", onchange: (event) => (end.hidden = event.target.value !== "range") }), end];
  }

  typed(form) { // what stands in a form
    const told = {};
    for (const { dataset, type, value, checked } of form.elements) if (dataset.kvField) told[dataset.kvField] = type === "checkbox" ? checked : value;
    return told;
  }

  // Tabs

  show(name, focus = false) {
    this.tab = name;
    for (const tab of this.tabs.children) {
      const mine = tab.dataset.kvTarget === name;
      set(tab, "aria-selected", mine);
      set(tab, "tabindex", mine ? 0 : -1);
      if (mine && focus) tab.focus();
    }
    for (const [key, panel] of Object.entries(this.panels)) panel.hidden = key !== name;
    say(this.note, "");
    this.seen = "";
    this.bench.preview = null;
    if (this.bench.player) this.bench.player.dirty = true;
  }

  tabKey(event) {
    const names = Object.keys(TABS), at = names.indexOf(this.tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.show(names.at(to % names.length), true);
  }

  makeKv() {
    this.prefix = "";
    const panel = this.panel("kv", "Ask the cluster", null, ...this.span(), this.field("value", "value", { value: "1" }),
      this.choice("lease", "lease", [["", "none"]]), this.field("revision", "get at revision", { size: 4, placeholder: "now", inputmode: "numeric", class: "kv-short" }),
      make("span", { class: "kv-doers" }, ...["put", "get", "delete"].map((op) => this.button(op, op, () => this.ask(op), { type: op === "put" ? "submit" : "button" }))));
    this.form = panel.form;
    return panel;
  }

  makeTxn() {
    this.prefix = "txn-";
    this.rows = { compare: make("div", { class: "kv-rows" }), then: make("div", { class: "kv-rows" }), else: make("div", { class: "kv-rows" }) };
    this.branch = make("output", { class: "kv-branch" });
    const column = (part, title, words) => make("fieldset", { class: "kv-part" }, make("legend", {}, title), this.rows[part],
      this.button("add_row", words, () => this.addRow(part).querySelector("select").focus(), { "data-kv-target": part }));
    const panel = this.panel("txn", "Build a transaction", () => this.commit(), make("div", { class: "kv-parts" }, column("compare", "if all of these hold", "+ comparison"),
      column("then", "then", "+ operation"), column("else", "else", "+ operation")),
      make("span", { class: "kv-doers" }, make("button", { type: "submit", "data-kv-action": "txn" }, "commit"), this.branch));
    panel.addEventListener("input", () => this.edit());
    this.addRow("compare", { key: "a", operand: "0" });
    this.addRow("then", { key: "a", value: "1" });
    this.addRow("else", { op: "get", key: "a" });
    this.edited = false;
    return panel;
  }

  addRow(part, given = {}) {
    const compares = part === "compare", op = given.op || "put";
    this.prefix = "txn-";
    const box = (name, words, more = {}) => make("input", { ...this.called(name), "aria-label": words, placeholder: words, autocomplete: "off", spellcheck: "false", size: 6,
      value: given[name] ?? "", "aria-describedby": `${this.id}-note`, ...more });
    const pick = (name, words, options, value) => Object.assign(make("select", { ...this.called(name), "aria-label": words }, ...options.map((o) => make("option", { value: o }, o))), { value });
    const row = make("div", { class: "kv-txn-row", role: "group", "aria-label": compares ? "comparison" : "operation" });
    const value = compares ? null : box("value", "value");
    if (value) value.hidden = op !== "put";
    const ops = compares ? null : pick("op", "operation", ["put", "get", "delete"], op);
    if (ops) ops.onchange = () => (value.hidden = ops.value !== "put");
    row.append(...(compares ? [pick("target", "what of the key", ["version", "value", "create", "mod", "lease"], "version"), box("key", "key"),
      pick("sign", "is", ["=", "≠", ">", "<"], "="), box("operand", "what")] : [ops, box("key", "key"), value]),
      this.button("remove_row", "✕", () => {
        const after = row.nextElementSibling || row.previousElementSibling || row.parentElement.nextElementSibling;
        row.remove();
        (after.querySelector ? after.querySelector("input") || after : after).focus();
        this.edit();
      }, { "aria-label": "Remove this row", title: "Remove this row" }));
    this.rows[part].append(row);
    this.edit();
    return row;
  }

  transaction() {
    const read = (row) => Object.fromEntries([...row.querySelectorAll("[name]")].map(({ dataset, value }) => [dataset.kvField, value]));
    return Object.fromEntries(Object.entries(this.rows).map(([part, box]) => [part, [...box.children].map(read)]));
  }

  edit() {
    this.edited = true;
    this.foresee();
  }

  foresee() { // which branch now? asked a moment after the last change
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { player, line } = this.bench;
      if (this.tab === "txn" && !this.bench.offline) player.ask("preview", { ...this.transaction(), number: ++this.number, who: line.who });
    }, 150);
  }

  commit() {
    this.edited = false;
    this.bench.preview = null;
    this.run("txn", this.transaction());
  }

  makeWatch() {
    this.prefix = "watch-";
    this.watches = make("ul", { class: "kv-held", "aria-label": "Watches of this panel" });
    const panel = this.panel("watch", "Watch keys", () => this.run("watch", this.typed(panel.form)), ...this.span(),
      this.field("revision", "from revision", { size: 4, placeholder: "now", inputmode: "numeric", class: "kv-short" }), this.tick("no_put", "no puts"), this.tick("no_delete", "no deletes"),
      this.tick("prev_kv", "with what was before"), make("button", { type: "submit", "data-kv-action": "watch" }, "watch"));
    panel.append(this.watches);
    return panel;
  }

  openWatch(revision) {
    this.show("watch");
    const { watch } = this.panels, key = this.at("key", watch);
    this.at("revision", watch).value = revision;
    key.focus();
    key.select();
  }

  makeLease() {
    this.prefix = "lease-";
    this.leases = make("ul", { class: "kv-held", "aria-label": "Leases" });
    const panel = this.panel("lease", "Grant a lease", () => this.run("lease_grant", this.typed(panel.form)),
      this.field("ttl", "seconds", { value: 10, inputmode: "numeric", class: "kv-short" }), this.field("own_id", "id, in hex", { placeholder: "any", class: "kv-short" }),
      make("button", { type: "submit", "data-kv-action": "lease_grant" }, "grant"));
    this.attach = make("form", { class: "kv-ask", "aria-label": "Attach keys to a lease", onsubmit: (event) => {
      event.preventDefault();
      this.run("lease_attach", this.typed(this.attach));
    } }, this.field("keys", "attach keys", { placeholder: "a b", size: 14, title: "Keys that are there; they keep their values" }), this.choice("lease", "to lease", [["", "none"]]),
      make("button", { type: "submit", "data-kv-action": "lease_attach" }, "attach"));
    panel.append(this.attach, this.leases);
    return panel;
  }

  makeCompact() {
    this.prefix = "compact-";
    this.goes = make("output", { class: "kv-branch" });
    const panel = this.panel("compact", "Compact the history", () => this.run("compact", this.typed(panel.form)),
      this.field("revision", "give up what is older than revision", { inputmode: "numeric", class: "kv-short" }),
      make("button", { type: "submit", "data-kv-action": "compact_at" }, "compact"), this.goes);
    panel.addEventListener("input", () => (this.bench.player.dirty = true));
    return panel;
  }

  makeMembers() {
    this.prefix = "member-";
    this.members = make("ul", { class: "kv-held", "aria-label": "Members" });
    const panel = this.panel("members", "Add a member", () => this.run("member_add", this.typed(panel.form)), this.field("name", "node", { class: "kv-short" }),
      this.tick("learner", "as a learner"), make("button", { type: "submit", "data-kv-action": "add_member" }, "add"));
    panel.append(this.members);
    return panel;
  }

  // Doing

  ask(op, more = {}) { this.run(op, { ...this.typed(this.form), ...more }); }

  run(op, args = {}) { // the one entry for all panes; its answer stands below the forms
    const { bench } = this, node = /^(member|transfer)/.test(op) ? "" : this.via.value;
    for (const marked of this.root.querySelectorAll("[aria-invalid]")) marked.removeAttribute("aria-invalid");
    say(this.note, "");
    const { id: lease, ...rest } = args; // a command has an id of its own
    this.before = JSON.stringify(bench.line.state[`client.${bench.client}`]); // the reply to it is no longer said
    this.asked = { op, args };
    say(this.own, "");
    const id = this.waits = bench.act(op, { node, ...rest, ...(lease === undefined ? {} : { lease }) });
    this.answers = !UNANSWERED.test(op);
    return id;
  }

  carriedOut(told) { // a request travels: a paused panel plays until it is answered
    const { player, line, client } = this.bench, mine = `client.${client}`, open = (asked) => asked && asked[3] === null;
    this.waits = 0;
    const { op, args } = this.asked, key = args.id === undefined ? "" : ` lease ${leaseName(args.id)}`;
    if (!this.answers && !told.refused && !told.error) say(this.own, { watch: "the watch is opened", unwatch: `${args.stream} is cancelled`,
      lease_keep: `the panel keeps${key} alive from here on`, lease_unkeep: `the panel keeps${key} alive no longer: it runs out` }[op]);
    if (!this.answers || told.refused || told.error || player.playing || player.real || !open(line.state[mine])) return;
    player.play((row) => row.patches.some(([key, , now]) => key === mine && now && !open(now)));
  }

  take(told) {
    if (told.refused) this.refuse(told.refused);
    if (this.waits && told.done >= this.waits) this.carriedOut(told);
    if (told.asked) { // of real processes nobody tells under which name they were asked
      this.bench.line.state[`client.${this.bench.client}`] = told.asked;
      this.bench.line.touch(`client.${this.bench.client}`);
    }
    if (told.watches) this.mine = told.watches;
    if (told.kept) this.kept = told.kept.map(String);
    if (told.log) { // the lines of another run; the program needs this one
      this.asker = told.log;
      this.lines.clear();
    }
    for (const [number, time, setup, text] of told.lines || []) this.lines.set(number, { time, setup, text });
    if (told.lines || told.log) this.drawPython();
    const { preview } = told;
    if (preview && preview.number === this.number && preview.who === this.bench.line.who && this.tab === "txn") {
      say(this.branch, preview.now);
      this.bench.preview = this.edited ? preview.fork : null;
    }
  }

  refuse({ field, why }) { // a clear sentence, beside the field that it is about; what is typed stays
    if (!this.waits) return; // another view of this panel has asked
    const [part, row, name] = field.split("."), form = document.activeElement.closest("form");
    const place = name && this.rows[part] ? this.rows[part].children[row] : this.root.contains(form) ? form : this.root;
    const bad = place && [...place.querySelectorAll(`[data-kv-field="${name || field}"], [name="${field}"]`)].find((one) => one.offsetParent);
    say(this.note, `${why[0].toUpperCase()}${why.slice(1)}.`);
    if (!bad) return;
    bad.setAttribute("aria-invalid", "true");
    bad.focus();
  }

  // Drawing

  drawState(line) {
    if (this.before !== null && JSON.stringify(line.state[`client.${this.bench.client}`]) !== this.before) {
      this.before = null; // the answer to what was asked last is there
      say(this.own, "");
    }
    this.answer.hidden = this.before !== null;
    this.own.hidden = !this.own.textContent;
    const leases = Store.leases(line).filter((lease) => !lease.end), ids = leases.map((lease) => lease.id).join();
    if (this.ids !== ids) {
      this.ids = ids;
      for (const select of this.root.querySelectorAll("[data-kv-field=lease]")) {
        const { value } = select;
        select.replaceChildren(make("option", { value: "" }, "none"), ...leases.map(({ id }) => make("option", { value: id }, leaseName(id))));
        select.value = leases.some(({ id }) => id === value) ? value : "";
      }
    }
    if (this.tab === "txn") {
      const key = `${line.versions.s} ${line.epoch}`;
      if (this.seen !== key) this.foresee();
      this.seen = key;
    } else if (this.tab === "watch") this.drawWatches(line);
    else if (this.tab === "lease") this.drawLeases(leases);
    else if (this.tab === "compact") this.drawCompact(line);
    else if (this.tab === "members") this.drawMembers(line);
  }

  held(list, key, told, tools) {
    return h("li", { key }, h("span", {}, told), tools.map(([op, words, args, more = {}]) => h("button", { key: op, type: "button", "data-kv-action": op,
      "data-kv-target": key, "aria-label": `${words}: ${key}`, onclick: () => this.run(op, args), ...more }, words)));
  }

  drawWatches(line) {
    if (this.mine) return void morph(this.watches, this.mine.map(([name, what]) => this.held("watch", name, `${name}: ${what}`, [["unwatch", "cancel", { stream: name }]])));
    const mine = Store.watchers(line).filter(({ name, lost }) => name.startsWith(`${this.bench.client}/`) && lost !== CLOSED);
    morph(this.watches, mine.length ? mine.map((w) => this.held("watch", w.name, `${w.name}: ${w.what}${w.first > 0 ? ` from ${w.first}` : ""}, ${w.end || w.lost || `${w.state} at ${w.node}`}, ${plural(w.told.size, "event")} told`,
      w.end ? [] : [["unwatch", "cancel", { stream: w.name }]])) : [h("li", { class: "kv-hint" }, "no watch of this panel at the cursor")]);
  }

  drawLeases(leases) {
    morph(this.leases, leases.length ? leases.map(({ id, ttl, keys, count }) => this.held("lease", leaseName(id), `lease ${leaseName(id)}: ${ttl} s, ${count ? cutTo(keys.join(" "), 240) : "no keys"}`,
      [["lease_keep_alive_once", "keep alive: once", { id, ttl }],
        this.kept.includes(id) ? ["lease_unkeep", "keep alive: stop", { id }, { class: "kv-on" }] : ["lease_keep", "keep alive: start", { id, ttl }], ["lease_revoke", "revoke", { id, ttl }]]))
      : [h("li", { class: "kv-hint" }, "no lease at the cursor")]);
  }

  drawCompact(line) {
    const { value } = this.at("revision", this.panels.compact), at = /^\s*\d+\s*$/.test(value) ? +value : 0, there = Store.there(line);
    const gone = at && at <= Store.revision(line) ? vanishing(there, at) : [];
    say(this.goes, `revision ${Store.revision(line)}, ${Store.compacted(line) ? `compacted at ${Store.compacted(line)}` : "nothing is compacted"}${at ? at <= Store.compacted(line) ? "; that is compacted already"
      : at > Store.revision(line) ? "; that is in the future" : `; ${gone.length} of ${plural(there.length, "record")} would go${gone.length ? ": " : ""}${gone.slice(0, 6).map((c) => `${c.main}.${c.sub} ${c.key}`).join(", ")}${gone.length > 6 ? ", …" : ""}` : ""}`);
  }

  drawMembers(line) {
    const { bench } = this, [voters, outgoing, learners] = line.conf(), { leader } = line.lead(), names = line.nodes();
    const name = this.at("name", this.panels.members), next = `n${Math.max(0, ...names.map((n) => +n.slice(1) || 0)) + 1}`;
    if (name !== document.activeElement && (!name.value || name.value === this.next)) name.value = next;
    this.next = next;
    morph(this.members, names.map((n) => {
      const votes = voters.includes(n), learns = learners.includes(n);
      return this.held("member", n, `${n}: ${n === leader ? "leads" : votes ? "voter" : learns ? "learner" : outgoing.includes(n) ? "leaves" : "no member"}`, votes || learns
        ? [["member_remove", "remove", { name: n }], ...(learns ? [["member_promote", "promote", { name: n }]] : n !== leader ? [["transfer", "make leader", { to: n }]] : [])]
        : bench.real ? [] : [["member_add", "add", { name: n }]]);
    }));
  }

  // As Python

  script() { // all lines as one program, as in hand_log.py: time goes on between two of them as it did
    const told = [];
    let client = "", watches = 0;
    if (this.bench.real) return [...this.lines.values()].flatMap(({ setup, text }, k, all) => [...(k && `${all[k - 1].setup}` === `${setup}` ? [] : setup), text]).join("\n");
    for (const { time, setup, text } of this.lines.values()) {
      if (!/^(cluster\.rewind\(|cluster = |#)/.test(text)) told.push(`cluster.run_to(${time})`);
      const [, opened] = /^watch_(\d+) = /.exec(text) || [];
      for (let line of setup) {
        const asks = line.startsWith("client = ");
        if (asks) {
          if (!told.includes(this.asker)) told.push(this.asker);
          line = line.replace("cluster.client()", "Asker(cluster)").replace("cluster.client(", "Asker(cluster, ");
          if (opened && +opened !== watches + 1) line = `${line.slice(0, -1)}, watches=${opened - 1})`;
        }
        if (asks ? line !== client : !told.includes(line)) told.push(line);
        if (asks) client = line;
      }
      if (opened) watches = +opened;
      told.push(text);
    }
    return [...told, `cluster.run_to(${(this.bench.line.head + 1) / 1e6})`].join("\n");
  }

  drawPython() {
    const all = [...this.lines].slice(-40), [, last] = all.at(-1) || [];
    const copy = (action, words, text, label) => h("button", { key: `${action} ${label}`, type: "button", "data-kv-action": action, "aria-label": label, title: label,
      onclick: (event) => copyText(text(), event.currentTarget) }, words);
    const whole = ({ setup, text }) => [...setup, text].join("\n");
    morph(this.python, [h("div", { key: "head", class: "kv-python-head" },
      h("button", { type: "button", "data-kv-action": "python", "aria-expanded": this.opened, onclick: () => ((this.opened = !this.opened), this.drawPython()) }, `${this.opened ? "▾" : "▸"} as Python`),
      h("code", { class: "kv-last", title: last ? whole(last) : "" }, last ? last.text : "what you do here is also told as a line of Python"),
      last && copy("copy", "copy", () => whole(last), "Copy the last line, with what it needs"), last && this.opened && copy("copy_all", "copy all", () => this.script(), "Copy all lines as one program")),
    this.opened && h("p", { key: "hint", class: "kv-python-hint" }, "What was done in the present run. A client of one node asks that node, as the panel did, and waits for the answer. “copy all” is one program"
      + (this.bench.real ? "." : " that waits for nothing, as the panel: it makes the same run out of the cluster that the panel was opened on.")),
    this.opened && h("ol", { key: "log", class: "kv-log", tabindex: 0, "aria-label": "What was done, as Python" }, all.map(([number, item], k) => h("li", { key: number },
      h("small", {}, `${item.time.toFixed(3)} s`), h("code", {}, [...(k && `${all[k - 1][1].setup}` === `${item.setup}` ? [] : item.setup), item.text].join("\n")),
      copy("copy", "copy", () => whole(item), `Copy line ${number}`))))].filter(Boolean));
    if (this.opened && this.logged !== all.length) this.python.lastChild.scrollTop = 1e6;
    this.logged = this.opened ? all.length : 0;
  }
}

function leaseName(id) { return BigInt(id).toString(16); }
