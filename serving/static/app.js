// The page: photos in, a card with the answer for each. It talks to its own server only.
import { KINDS, area, judge, kindOf, toCsv, toJson } from "./answer.js";
import { Card } from "./card.js";
import { find, make } from "./elements.js";
import { drawMap, loadOutline } from "./map.js";
import { Unavailable, addNotices, ask, knownLandmarks, samples, sayAway, showModel } from "./server.js";

const AT_ONCE = 4;
// Those on the page, each with its file, card and state: waiting, asking or done. Done ones have
// found, the server's answer or what went wrong, and view, what it says at the threshold.
const photos = [];
// The user's threshold; null is that of the model that answered.
let threshold = null;
let kind = "all";
// The server answers nobody now: photos wait until the user has it tried again.
let paused = false;
let refreshing = 0;

function add(files) {
  for (const file of files) {
    const card = new Card(file, refresh);
    find("#answers").append(card.item);
    photos.push({ file, card, state: "waiting", clearing: new AbortController() });
  }
  refresh();
  askNext();
}

function askNext() {
  if (paused) return;
  const free = AT_ONCE - photos.filter(({ state }) => state === "asking").length;
  photos.filter(({ state }) => state === "waiting").slice(0, free).forEach(answer);
}

async function answer(photo) {
  const { file, card, clearing } = photo;
  photo.state = "asking";
  try {
    Object.assign(photo, await ask(file, (words) => card.tell(words), clearing.signal));
  } catch (error) {
    if (clearing.signal.aborted) return;
    if (error instanceof Unavailable) {
      photo.state = "waiting";
      card.tell("Waiting…");
      pause(error.message);
      return;
    }
    photo.found = { error: { code: "no_answer", reason: error.message } };
  }
  photo.state = "done";
  refresh();
  askNext();
}

function pause(reason) {
  paused = true;
  sayAway(reason);
  refresh();
}

function resume() {
  paused = false;
  showModel();
  refresh();
  askNext();
}

// Once a frame, however many answers came meanwhile.
function refresh() {
  refreshing ||= requestAnimationFrame(() => {
    refreshing = 0;
    const done = photos.filter(({ state }) => state === "done");
    done.forEach(sort);
    for (const { card, state, view } of photos) {
      card.item.hidden = kind !== "all" && !(state === "done" && kindOf(view) === kind);
    }
    const shown = done.filter(({ card }) => !card.item.hidden);
    report(done);
    showKinds(done);
    showThreshold();
    showPlaces(shown);
    find(".save").hidden = !shown.length;
    find("#count").textContent = `Save the ${shown.length} shown as`;
    document.body.classList.toggle("started", photos.length > 0);
    find("#overview").hidden = !photos.length;
  });
}

function sort(photo) {
  const { found, model, card } = photo;
  const limit = threshold ?? model?.threshold;
  const before = photo.view;
  if (!before || photo.threshold !== limit) {
    photo.view = judge(found, limit);
    photo.threshold = limit;
    card.show(photo.view, model, limit);
    // The only photo is what the user came for.
    if (!before && photos.length === 1) card.toggle();
  }
}

const inWords = (number) => `${number} ${number === 1 ? "photo" : "photos"}`;

function report(done) {
  const failed = done.filter(({ found }) => found.error);
  const silent = failed.filter(({ model }) => !model).length;
  const unread = failed.length - silent;
  const parts = [];
  if (done.length > failed.length) parts.push(`${done.length - failed.length} answered`);
  if (unread) parts.push(`${unread} could not be read`);
  if (silent) parts.push(`${silent} got no answer`);
  if (paused && photos.length > done.length) parts.push(`${photos.length - done.length} waiting`);
  const busy = done.length < photos.length && !paused;
  // One sentence while it works, so that a screen reader is not told of each photo.
  const words = busy ? `Looking at ${inWords(photos.length)}…` : parts.join(", ");
  if (find("#progress").textContent !== words) find("#progress").textContent = words;
  Object.assign(find("#share"), { hidden: !busy, max: photos.length, value: done.length });
}

function showKinds(done) {
  find("#kinds").hidden = photos.length < 2;
  for (const label of document.querySelectorAll("#kinds label")) {
    const { value } = find("input", label);
    const number = value === "all" ? photos.length : done.filter(({ view }) => kindOf(view) === value).length;
    find("b", label).textContent = number;
  }
  find("#meaning").textContent = KINDS[kind][1];
}

function showThreshold() {
  const own = photos.findLast(({ model }) => model)?.model.threshold;
  find("#threshold-row").hidden = own === undefined;
  const shown = threshold ?? own ?? 0;
  const slider = find("#threshold");
  slider.value = shown;
  find("#limit").textContent = `${Math.round(shown * 100)}%`;
  slider.setAttribute("aria-valuetext", find("#limit").textContent);
  find("#own").hidden = threshold === null;
  find("#own").textContent = `Model's own ${Math.round((own ?? 0) * 100)}%`;
}

function showPlaces(shown) {
  const pins = new Map();
  const pin = (place, title, marked, photo) => {
    const key = [place.latitude, place.longitude].join();
    const known = pins.get(key) || { ...place, title, number: 0, marked: false };
    known.number += 1;
    known.marked ||= marked;
    known.title = `${title}: ${inWords(known.number)}`;
    known.choose ||= () => {
      if (!photo.card.isOpen) find(".face", photo.card.item).click();
      photo.card.item.scrollIntoView({ block: "nearest" });
    };
    pins.set(key, known);
  };
  for (const photo of shown) {
    const { view, card } = photo;
    if (typeof view.latitude === "number") {
      const taken = view.location_source === "exif";
      const { latitude, longitude } = view;
      // An opened photo that was taken elsewhere also shows where its landmark stands.
      if (card.isOpen && view.distance_km > 0) pin(view.candidates[0], view.candidates[0].landmark, false, photo);
      pin({ latitude, longitude, kind: taken ? "taken-pin" : "pin" }, taken ? "Taken here" : view.landmark || area(view), card.isOpen, photo);
    }
  }
  find("#map").toggleAttribute("hidden", !pins.size);
  const places = `${pins.size} ${pins.size === 1 ? "place" : "places"}`;
  drawMap(find("#map"), [...pins.values()], `Map with ${places}`);
}

function save(text, type, name) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

const shownPhotos = () => photos.filter(({ state, card }) => state === "done" && !card.item.hidden);
find("#csv").addEventListener("click", () => save(toCsv(shownPhotos()), "text/csv", "landmarks.csv"));
find("#json").addEventListener("click", () => save(toJson(shownPhotos()), "application/json", "landmarks.json"));

for (const [value, [name]] of Object.entries(KINDS)) {
  const field = make("input", { type: "radio", name: "kind", value, checked: value === kind });
  field.addEventListener("change", () => {
    kind = value;
    refresh();
  });
  find("#kinds").append(make("label", { className: "kind" }, field, make("span", { className: `dot ${value}` }), `${name} `, make("b")));
}
find("#threshold").addEventListener("input", (event) => {
  threshold = Number(event.target.value);
  refresh();
});
find("#own").addEventListener("click", () => {
  threshold = null;
  find("#threshold").focus();
  refresh();
});

find("#known").addEventListener("toggle", async () => {
  if (!find("#known").open) return;
  const known = await knownLandmarks().catch((error) => {
    find("#countries").textContent = error.message;
    return [];
  });
  if (!known.length) return;
  const countries = Map.groupBy(known, ({ country }) => country || "Elsewhere");
  const names = [...countries.keys()].sort((one, other) => one.localeCompare(other));
  find("#countries").replaceChildren(...names.map((country) => make(
    "section",
    {},
    make("h3", {}, country),
    make("ul", {}, ...countries.get(country).map(({ landmark, city }) => (
      make("li", {}, landmark, make("span", { className: "quiet" }, city ? ` ${city}` : ""))
    ))),
  )));
  const placed = known.filter(({ latitude }) => typeof latitude === "number");
  drawMap(find("#known .map"), placed.map((place) => ({ ...place, title: place.landmark })), `Map of ${placed.length} landmarks`);
  find("#search").dispatchEvent(new Event("input"));
});
find("#search").addEventListener("input", ({ target }) => {
  const wanted = target.value.trim().toLowerCase();
  for (const section of find("#countries").children) {
    const country = find("h3", section).textContent.toLowerCase();
    const entries = [...section.querySelectorAll("li")];
    for (const entry of entries) {
      entry.hidden = !(country.includes(wanted) || entry.textContent.toLowerCase().includes(wanted));
    }
    section.hidden = entries.every((entry) => entry.hidden);
  }
});

for (const field of [find("#choose"), find("#camera")]) {
  field.addEventListener("change", () => {
    add(field.files);
    field.value = "";
  });
}
find("#samples").addEventListener("click", async () => {
  try {
    add(await samples());
  } catch (error) {
    pause(error.message);
  }
});
find("#drop").addEventListener("submit", (event) => event.preventDefault());
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    find("#drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) find("#drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("#drop").classList.remove("over");
  add(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  const files = event.clipboardData ? event.clipboardData.files : [];
  if (files.length) add(files);
});
find("#again").addEventListener("click", () => {
  for (const { clearing, card } of photos.splice(0)) {
    clearing.abort();
    card.remove();
  }
  find("#kinds input").click();
  refresh();
  find("#choose").focus();
});
addNotices(resume);
showModel();
loadOutline(find("#outline"));
