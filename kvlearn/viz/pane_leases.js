// Leases: a bar that runs out by itself, by the clock of the node that counts it; its keys hang
// below it (leases.py is its twin). What runs is set once a frame, by `time`.

const LEASE_FOLDS_US = 10e6, MOST_LEASES = 24, LEASE_CHIPS = 12, FLASH_US = 8e5;

PANES.leases = {
  title: "Leases",
  needs: ["l", "lit"],
  version: (bench) => `${leaseRows(bench.line).shown.map((lease) => lease.id).join()} ${(bench.hands || {}).kept}`,
  of: (line) => {
    const all = leasesAt(line), alive = all.filter((lease) => !lease.end), counts = alive.find((lease) => lease.node);
    const who = alive.length ? `, ${counts ? counts.node : "nobody"} counts` : "";
    return all.length ? `${alive.length} of ${all.length} alive${who}` : "";
  },

  draw(line, bench) {
    const { shown, folded } = leaseRows(line);
    if (!leasesAt(line).length) return [h("p", { class: "kv-empty" }, leaseEmpty(bench))];
    return [h("div", { class: "kv-leases" }, shown.map((lease) => leaseCard(line, bench, lease))),
      folded.length && h("p", { key: "folded", class: "kv-l-folded", "data-kv-folded": folded.length },
        `… folded: ${leasesTold(folded)}`)].filter(Boolean);
  },

  time(line, bench, body) {
    const now = performance.now(), moving = bench.player.playing || bench.player.glide;
    const slow = !moving || now - (body.kvTtlAt || 0) >= 100; // words and hooks: ten times a second
    if (slow) body.kvTtlAt = now;
    const known = line.memo("leasesById", "l", () => new Map(leasesAt(line).map((lease) => [lease.id, lease])));
    for (const card of body.querySelectorAll("[data-kv-counted]")) {
      const lease = known.get(card.dataset.kvCounted), left = lease ? Store.left(lease, line.us) : null;
      if (left === null) continue;
      const bar = card.querySelector(".kv-l-bar"), word = card.querySelector(".kv-l-left");
      bar.firstChild.style.transform = `scaleX(${(left / leaseWhole(lease)).toFixed(4)})`;
      const flash = lease.why === "keep-alive" ? Math.max(0, 0.7 - (line.us - lease.start) / FLASH_US) : 0;
      bar.lastChild.style.opacity = flash.toFixed(2);
      if (!slow) continue;
      say(word, left > 0 ? `${(left / 1e6).toFixed(1)} of ${lease.ttl} s`
        : `ran out ${((line.us - lease.start - lease.left / lease.rate) / 1e6).toFixed(1)} s ago`);
      set(card, "data-kv-ttl", (left / 1e6).toFixed(1));
      set(bar, "aria-valuenow", (left / 1e6).toFixed(1));
      set(bar, "aria-valuetext", word.textContent);
      card.classList.toggle("kv-l-out", left === 0);
    }
  },

  text(line, bench) {
    const all = leasesAt(line);
    return all.length ? all.map((lease) => leaseWords(line, lease)).join("\n") : leaseEmpty(bench);
  },
};

const leaseEmpty = (bench) => `No lease yet: ${bench.offline ? "at this moment none was granted."
  : "client.lease(ttl_s=10) grants one; put(key, value, lease=...) hangs a key on it."}`;
const leasesAt = (line) => line.memo("leasesAt", "l", () => Store.leases(line));
const leaseWhole = (lease) => Math.max(lease.ttl * 1e6, lease.left); // a new leader adds the time of an election
const leaseHex = (lease) => BigInt(lease.id).toString(16);

function leaseRows(line) { // those that live, and those that ended a short while ago
  const all = leasesAt(line), best = all.filter((lease) => !lease.end).slice(-MOST_LEASES);
  const fresh = all.filter((lease) => lease.end && line.us - lease.ended < LEASE_FOLDS_US)
    .sort((a, b) => a.ended - b.ended);
  const shown = [...best, ...fresh.slice(best.length < MOST_LEASES ? best.length - MOST_LEASES : fresh.length)];
  return { shown, folded: all.filter((lease) => !shown.includes(lease)) };
}

function leasesTold(all) {
  const counts = {};
  for (const { end } of all) counts[end || "alive"] = (counts[end || "alive"] || 0) + 1;
  return Object.entries(counts).map(([end, count]) => `${count} ${end}`).join(", ");
}

function leaseCounter(lease) { // who counts, and since when
  const { node, why, start, left, rate } = lease, at = seconds(start);
  if (lease.end) return lease.keys.length ? `revision ${lease.revision} deleted ${plural(lease.count, "key")}`
    : "no keys went with it";
  if (node === null) return `nobody counts; a new leader begins with ${(left / 1e6).toFixed(1)} s`;
  const how = { "keep-alive": `kept alive at ${at}`, counted: `anew since ${at}`,
    checkpoint: `from its checkpoint since ${at}` }[why] || `since ${at}`;
  const clock = rate === 1 ? "" : `; its clock runs ${rate} ×`;
  return `${node} counts, ${how}${clock}${lease.ranOut === null ? "" : "; it asks to revoke it"}`;
}

function leaseLeft(line, lease) {
  if (lease.end) return `${lease.end} at ${seconds(lease.ended)}`;
  const left = Store.left(lease, line.us);
  return left === null ? `of ${lease.ttl} s` : left ? `${(left / 1e6).toFixed(1)} of ${lease.ttl} s left` : "ran out";
}

function leaseWords(line, lease) {
  const keys = lease.keys.join(", ") + (lease.count > lease.keys.length ? ", …" : "");
  return `lease ${leaseHex(lease)}: granted for ${lease.ttl} s at ${seconds(lease.granted)}; `
    + `${leaseLeft(line, lease)}; ${leaseCounter(lease)}; ${lease.count ? `keys ${keys}` : "no keys"}`;
}

function leaseCard(line, bench, lease) {
  const hex = leaseHex(lease), counted = !lease.end && lease.node !== null, idle = !lease.end && !counted;
  const state = lease.end || (idle ? "idle" : "counts"), keys = lease.keys.slice(0, LEASE_CHIPS);
  const left = leaseLeft(line, lease), counter = leaseCounter(lease);
  const now = { "aria-valuenow": lease.end ? 0 : (lease.left / 1e6).toFixed(1), "aria-valuetext": lease.end ? left : counter };
  const told = counted ? `lease ${hex}: ${counter}` : `lease ${hex}: ${left}; ${counter}`;
  return h("div", { key: lease.id, class: `kv-lease kv-l-${state}`, role: "group", "aria-label": `lease ${hex}`,
    "data-kv-lease": hex, "data-kv-counted": counted ? lease.id : null,
    "data-kv-granted": lease.ttl, "data-kv-state": state, "data-kv-ended": lease.end || null,
    ...(counted ? {} : { "data-kv-ttl": lease.end ? "-1" : "" }) },
    h("div", { class: "kv-l-head" }, h("span", asked(bench, ["lease", lease.id], () => bench.deciding(lease.key),
      { class: "kv-l-name", title: "Why?", "aria-label": told }), "lease ", h("b", {}, hex)),
      h("span", { key: counted ? "runs" : "stays", class: "kv-l-left" }, counted ? null : left)),
    h("div", { key: `bar ${state}`, class: "kv-l-bar", role: "meter", "aria-label": `time left of lease ${hex}`,
      "aria-valuemin": 0, "aria-valuemax": (leaseWhole(lease) / 1e6).toFixed(1),
      ...(counted ? {} : now) },
      h("i", { class: "kv-l-fill", ...(idle ? { style: `transform:scaleX(${lease.left / leaseWhole(lease)})` } : {}) }),
      h("i", { class: "kv-l-flash" })),
    h("div", { class: "kv-l-keys" }, keys.map((key) => h("button", { key, type: "button", class: "kv-l-key",
      "aria-pressed": bench.lit === key, "data-kv-attached": key,
      title: lease.end ? `${key}: deleted with its lease` : `Light ${key} in all panes`,
      onclick: () => bench.light(key) }, lease.end ? h("s", {}, key) : key)),
      lease.count > keys.length && h("span", { class: "kv-l-more" }, `… ${lease.count - keys.length} more`),
      !lease.count && !lease.end && h("span", { class: "kv-l-more" }, "no keys")),
    h("div", { class: "kv-l-who" }, counter),
    !lease.end && !bench.offline && bench.hands && leaseTools(bench, lease, hex));
}

function leaseTools(bench, lease, hex) {
  const tool = (action, told, title) => h("button", { key: action, type: "button", "data-kv-action": action,
    "data-kv-target": hex, "aria-label": `${title}: lease ${hex}`, title,
    onclick: () => bench.hands.run(action, { id: lease.id, ttl: lease.ttl }) }, told);
  return h("div", { key: "tools", class: "kv-l-tools", role: "group", "aria-label": `What to do with lease ${hex}` },
    h("span", {}, "keep alive:"),
    tool("lease_keep_alive_once", "once", "Keep it alive once: its time is refilled"),
    (bench.hands.kept || []).includes(lease.id) ? tool("lease_unkeep", "stop", "Stop keep-alive: it runs out")
      : tool("lease_keep", "start", "Start keep-alive: it is refilled again and again"),
    tool("lease_revoke", "revoke", "Revoke it: its keys are deleted at once"));
}
