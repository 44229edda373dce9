// The review page: photos by what was said of them, accepted or corrected by keyboard or mouse.
import { percent } from "./answer.js";
import { find, make } from "./elements.js";
import { addNotices, request, sayAway } from "./server.js";

// Pictures this far outside of the window are fetched before one scrolls to them.
const AHEAD = "700px 0px";
const SENT_AT_ONCE = 50;
const NAMES_SHOWN = 8;
const NOTHING = { decision: "", right: "" };

const board = find("#board");
// What the server knows, and all its photos; the groups that are laid out now, and their photos.
let library = null;
let photos = [];
let bursts = null;
let layout = [];
let order = [];
let current = null;
const undoable = [];
// Decisions that the server has not yet stored, oldest first.
const waiting = [];
let sending = null;
let matches = [];
let chosen = -1;

async function load() {
  // What is not stored yet would stand as open on the new page.
  if (waiting.length) await send();
  if (waiting.length) {
    find("#order").value = library.order;
    return;
  }
  const wanted = find("#order").value;
  try {
    const response = await request(`/api/review${wanted ? `?order=${wanted}` : ""}`);
    const found = await response.json();
    if (!response.ok) throw new Error(found.detail || "The server could not answer.");
    library = found;
    // Steps hold photos of the old page.
    undoable.length = 0;
  } catch (error) {
    sayAway(error.message);
    return;
  }
  photos = library.groups.flatMap((group) => group.photos);
  photos.forEach(addCard);
  bursts = Map.groupBy(photos, ({ burst }) => burst);
  const orders = Object.entries(library.orders).map(([value, text]) => make("option", { value, textContent: text, selected: value === library.order }));
  find("#order").replaceChildren(...orders);
  find("#bar").hidden = false;
  find("#work").hidden = false;
  document.title = `Review ${library.library}`;
  arrange();
}

// Lay out the groups anew. What is decided stays where it is until then, so that nothing jumps.
function arrange() {
  const show = find("[name=show]:checked").value;
  const wanted = ({ decision }) => show === "all" || Boolean(decision) === (show === "done");
  layout = library.groups.map((group) => ({ ...group, photos: group.photos.filter(wanted) }))
    .filter((group) => group.photos.length);
  order = layout.flatMap((group) => group.photos);
  board.replaceChildren(...layout.map(addGroup));
  layout.forEach(count);
  find("#jump").replaceChildren(...layout.map(({ name, photos: own }, value) => make("option", { value, textContent: `${name} (${own.length})` })));
  find("#empty").hidden = order.length > 0;
  find("#empty").textContent = show === "done" ? "Nothing is reviewed yet." : "Everything is reviewed.";
  find("#panel").hidden = !order.length;
  current = order.includes(current) ? current : order[0];
  report();
  if (current) choose(current, false);
}

function addGroup(group, index) {
  const place = group.place ? `, ${group.place}` : "";
  const title = make("h2", { title: group.name + place }, group.name, make("span", { className: "quiet" }, place));
  const acts = make("div", { className: "group-acts" });
  for (const [name, label] of [["accept", "Accept all"], ["reject", "All wrong"], ["none", "No landmark"]]) {
    if (name === "none" && !group.photos[0].proposal) continue;
    const button = make("button", { type: "button", className: "button small plain" }, label);
    button.addEventListener("click", () => act(name, left(group)));
    acts.append(button);
  }
  group.photos.forEach((photo, at) => {
    Object.assign(photo, { group, at });
    mark(photo);
  });
  const grid = make("div", { className: "picks" }, ...group.photos.map(({ card }) => card));
  group.element = make("section", { className: "group", ariaLabel: group.name }, make("div", { className: "group-head" }, title, acts), grid);
  group.index = index;
  return group.element;
}

const left = (group) => group.photos.filter(({ decision }) => !decision);

function count(group) {
  const { element } = group;
  const number = left(group).length;
  find("button", element).textContent = number > 1 ? `Accept all ${number}` : "Accept";
  find(".group-acts", element).style.visibility = number ? "" : "hidden";
}

function addCard(photo) {
  photo.card = make(
    "button",
    { type: "button", className: "pick", title: photo.path, photo },
    make("span", { className: "thumb" }, make("img", { alt: "" })),
    make("span", { className: "caption" }, make("span", { className: "what" }), make("span", { className: "quiet file" }, photo.path.split("/").pop())),
  );
  photo.card.addEventListener("click", () => choose(photo));
  near.observe(photo.card);
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.asking?.abort();
    target.asking = new AbortController();
    target.photo.blob = null;
    put(find("img", target));
    if (isIntersecting) picture(find("img", target), target.photo, "small", target.asking.signal);
  }
}, { rootMargin: AHEAD });

// Fetched rather than named, because an address alone carries no token.
async function picture(image, photo, size, signal) {
  try {
    const response = await request(`/api/photo/${photo.id}?size=${size}`, { signal, priority: "low" });
    const blob = await response.blob();
    if (!response.ok || signal.aborted) return;
    if (size === "small") photo.blob = blob;
    put(image, blob);
  } catch {
    // It was scrolled away, or the server is gone, which the next decision says.
  }
}

function put(image, blob) {
  if (image.src) URL.revokeObjectURL(image.src);
  if (blob) image.src = URL.createObjectURL(blob);
  else image.removeAttribute("src");
}

function words({ decision, right, proposal, confidence }) {
  if (decision === "landmark") return right === proposal ? `✓ ${right}` : `→ ${right}`;
  if (decision) return decision === "rejected" ? "✗ Wrong" : "– No landmark";
  return confidence === null ? "No landmark" : `${percent(confidence)} sure`;
}

function mark(photo) {
  const { card } = photo;
  // Where photos of several landmarks stand together, each says its own.
  const apart = photo.proposal && photo.group.name !== photo.proposal && !photo.decision;
  const text = apart ? `${percent(photo.confidence)} ${photo.proposal}` : words(photo);
  find(".what", card).textContent = text;
  if (photo.decision) card.dataset.decision = photo.decision;
  else delete card.dataset.decision;
  card.ariaLabel = `${photo.proposal || "No known landmark"}, ${words(photo)}, ${photo.path}`;
  card.tabIndex = photo === current ? 0 : -1;
  if (photo === current) card.setAttribute("aria-current", "true");
  else card.removeAttribute("aria-current");
}

function choose(photo, follow = true) {
  const before = current;
  current = photo;
  if (before) mark(before);
  mark(photo);
  find("#jump").value = photo.group.index;
  if (follow) {
    photo.card.scrollIntoView({ block: "nearest" });
    photo.card.focus({ preventScroll: true });
  }
  describe();
}

let looking = new AbortController();
function describe() {
  const { path, said, proposal, decision } = current;
  const sure = current.confidence === null ? "" : ` ${percent(current.confidence)}`;
  find("#said").textContent = decision ? words(current) : `${proposal || "No known landmark"}${proposal ? "?" : ""}${proposal ? sure : ""}`;
  find("#name").textContent = proposal && !said ? `${path} · no landmark was named, this came nearest` : path;
  find("#name").title = path;
  find("#choices").replaceChildren(...current.candidates.map(([name, share], index) => {
    const bar = make("span", { className: "bar", ariaHidden: "true" }, make("span"));
    bar.firstElementChild.style.width = `${share * 100}%`;
    const button = make("button", { type: "button" }, make("kbd", {}, String(index + 1)), make("span", {}, name), bar, make("span", { className: "percent" }, percent(share)));
    button.ariaPressed = String(decision === "landmark" && current.right === name);
    button.addEventListener("click", () => decide([current], "landmark", name));
    return make("li", {}, button);
  }));
  find("#undo").disabled = !undoable.length && !decision;
  looking.abort();
  looking = new AbortController();
  const { signal } = looking;
  // The small one is there at once, the large one follows; a held arrow key asks for neither.
  const shown = find("#light").open ? [find("#photo"), find("#light img")] : [find("#photo")];
  shown.forEach((image) => put(image, current.blob));
  setTimeout(() => {
    if (!signal.aborted) shown.forEach((image) => picture(image, current, "large", signal));
  }, 60);
}

function move(step) {
  const index = order.indexOf(current) + step;
  choose(order[Math.max(0, Math.min(order.length - 1, index))]);
}

// Up and down keep the column, also from one group to the next.
function climb(down) {
  const { group, at, card } = current;
  const columns = getComputedStyle(card.parentElement).gridTemplateColumns.split(" ").length;
  const there = at + (down ? columns : -columns);
  if (there in group.photos) choose(group.photos[there]);
  else if (down && Math.floor(at / columns) < Math.floor((group.photos.length - 1) / columns)) choose(group.photos.at(-1));
  else {
    const next = layout[group.index + (down ? 1 : -1)];
    if (!next) return;
    const column = at % columns;
    const start = down ? 0 : Math.floor((next.photos.length - 1) / columns) * columns;
    choose(next.photos[Math.min(start + column, next.photos.length - 1)]);
  }
}

function leap(step) {
  const next = layout[Math.max(0, Math.min(layout.length - 1, current.group.index + step))];
  choose(next.photos.find(({ decision }) => !decision) || next.photos[0]);
}

const ACTS = {
  accept: ({ proposal }) => (proposal ? { decision: "landmark", right: proposal } : { decision: "no_landmark", right: "" }),
  reject: () => ({ decision: "rejected", right: "" }),
  none: () => ({ decision: "no_landmark", right: "" }),
};

const act = (name, chosenOnes) => change(chosenOnes.map((photo) => [photo, ACTS[name](photo)]));
const decide = (chosenOnes, decision, right) => change(chosenOnes.map((photo) => [photo, { decision, right }]));

function change(decisions) {
  if (!decisions.length) return;
  const wanted = new Map(decisions);
  // What is said of one photo of a burst counts for those of it that are open.
  for (const [photo, after] of decisions) {
    for (const other of bursts.get(photo.burst)) if (!other.decision && !wanted.has(other)) wanted.set(other, after);
  }
  const changes = [...wanted];
  undoable.push(changes.map(([photo]) => [photo, { decision: photo.decision, right: photo.right }]));
  apply(changes);
  // To the next that is open, so that one key a photo is enough.
  const last = order.indexOf(decisions.at(-1)[0]);
  const next = order.slice(last + 1).find(({ decision }) => !decision);
  choose(next || order[Math.min(last + 1, order.length - 1)]);
}

// The last step; where there is none, what was decided on this photo before.
function undo() {
  const changes = undoable.pop() || (current.decision ? [[current, NOTHING]] : []);
  if (!changes.length) return;
  apply(changes);
  const [photo] = changes[0];
  if (order.includes(photo)) choose(photo);
}

function apply(changes) {
  for (const [photo, after] of changes) {
    Object.assign(photo, after);
    waiting.push({ photo: photo.id, decision: after.decision || "undone", right: after.right });
    if (photo.card.isConnected) mark(photo);
  }
  layout.forEach(count);
  report();
  send();
}

function send() {
  sending ||= store().finally(() => {
    sending = null;
  });
  return sending;
}

async function store() {
  try {
    while (waiting.length) {
      const some = waiting.slice(0, SENT_AT_ONCE);
      const response = await request("/api/review", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(some),
      });
      if (!response.ok) throw new Error("The server could not store the decisions; its log says why. If photos were tagged meanwhile, load the page again.");
      waiting.splice(0, some.length);
      sayAway("");
      report();
    }
  } catch (error) {
    // An empty one: the page asks for the token.
    sayAway(error.message);
  }
}

function report() {
  const done = photos.filter(({ decision }) => decision).length;
  const numbers = { open: photos.length - done, done, all: photos.length };
  for (const label of document.querySelectorAll("#bar .kind")) {
    find("b", label).textContent = numbers[find("input", label).value].toLocaleString("en");
  }
  Object.assign(find("#share"), { max: photos.length, value: done });
  const kept = waiting.length ? `storing ${waiting.length.toLocaleString("en")}…` : `kept in ${library.corrections}`;
  const refused = library.refused ? ` · ${library.refused} could not be read` : "";
  const text = `${library.library} · ${kept}${refused}`;
  if (find("#model").textContent !== text) find("#model").textContent = text;
}

// Names that hold all typed words, those that start with the text first.
function complete() {
  const typed = find("#right").value.trim();
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const parts = plain(typed).split(/\s+/);
  const starts = (name) => plain(name).startsWith(plain(typed));
  matches = typed ? library.names.filter((name) => parts.every((part) => plain(name).includes(part))) : [];
  matches.sort((one, other) => starts(other) - starts(one));
  matches = matches.slice(0, NAMES_SHOWN);
  // A landmark that nobody knows yet can be taught later.
  if (typed && !matches.some((name) => plain(name) === plain(typed))) matches.push(typed);
  chosen = matches.length ? 0 : -1;
  list();
}

function list() {
  const box = find("#names");
  box.hidden = !matches.length;
  find("#right").ariaExpanded = String(matches.length > 0);
  box.replaceChildren(...matches.map((name, index) => {
    const text = library.names.includes(name) ? name : `New: ${name}`;
    const item = make("li", { role: "option", id: `name-${index}`, ariaSelected: String(index === chosen) }, text);
    item.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      settle(name);
    });
    return item;
  }));
  if (chosen >= 0) find("#right").setAttribute("aria-activedescendant", `name-${chosen}`);
  else find("#right").removeAttribute("aria-activedescendant");
}

function settle(name) {
  find("#right").value = "";
  complete();
  if (!library.names.includes(name)) library.names.push(name);
  decide([current], "landmark", name);
}

find("#right").addEventListener("input", complete);
find("#right").addEventListener("keydown", (event) => {
  const { key } = event;
  if (key === "Enter" && chosen >= 0) settle(matches[chosen]);
  else if (key === "ArrowDown" || key === "ArrowUp") {
    chosen = (chosen + (key === "ArrowDown" ? 1 : -1) + matches.length) % (matches.length || 1);
    list();
  } else if (key === "Escape") {
    event.target.value = "";
    complete();
    choose(current);
  } else return;
  event.preventDefault();
});

function enlarge() {
  find("#light").showModal();
  describe();
}

const KEYS = {
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => climb(false),
  ArrowDown: () => climb(true),
  Home: () => choose(order[0]),
  End: () => choose(order.at(-1)),
  j: () => leap(1),
  k: () => leap(-1),
  a: () => act("accept", [current]),
  Enter: () => act("accept", [current]),
  x: () => act("reject", [current]),
  n: () => act("none", [current]),
  A: () => act("accept", left(current.group)),
  X: () => act("reject", left(current.group)),
  N: () => act("none", left(current.group)),
  u: undo,
  o: () => find("#right").focus(),
  "/": () => find("#right").focus(),
  " ": () => (find("#light").open ? find("#light").close() : enlarge()),
};
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const takesIt = target.matches("[type=radio]") ? key === " " || key.startsWith("Arrow") : target.matches("input, select");
  if (!current || event.altKey || takesIt) return;
  const undoes = (event.ctrlKey || event.metaKey) && key === "z";
  if ((event.ctrlKey || event.metaKey) && !undoes) return;
  const digit = current.candidates[Number(key) - 1];
  // Enter and space press the button that has the focus, unless it is a photo.
  const presses = (key === "Enter" || key === " ") && target.matches("button:not(.pick)");
  const does = undoes ? undo : digit ? () => decide([current], "landmark", digit[0]) : KEYS[key];
  if (!does || presses) return;
  event.preventDefault();
  does();
});

for (const name of ["accept", "reject", "none"]) {
  find(`#${name}`).addEventListener("click", () => act(name, [current]));
}
find("#undo").addEventListener("click", undo);
find("#larger").addEventListener("click", enlarge);
find("#light").addEventListener("click", () => find("#light").close());
find("#jump").addEventListener("change", ({ target }) => choose(layout[target.value].photos[0]));
find("#order").addEventListener("change", load);
for (const field of document.querySelectorAll("[name=show]")) field.addEventListener("change", arrange);
addNotices(() => (library ? send() : load()));
addEventListener("beforeunload", (event) => {
  if (waiting.length) event.preventDefault();
});
load();
