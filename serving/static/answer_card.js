// The card of one photo: the photo itself, how far its upload is, and the answer.
import { copy } from "./copying.js";
import { drawAttention, drawPin } from "./drawing.js";
import { find, link } from "./elements.js";

const blank = find("#card").content.firstElementChild;

// What went wrong, as a person would say it; the codes are those of the API.
const PLAIN = {
  empty: "This file is empty. Copy or download it again.",
  not_an_image: "This is not a photo.",
  truncated: "This photo is damaged: part of it is missing. Copy or download it again.",
  too_many_bytes: "This file is too large. Export it smaller.",
  too_many_pixels: "This picture has too many pixels. Export it smaller.",
  unsupported: "This kind of file cannot be read. Export it as JPEG.",
};

export function createCard(file) {
  const item = blank.cloneNode(true);
  find(".name", item).textContent = file.name || "pasted photo";
  showPhoto(item, file);
  return item;
}

function showPhoto(item, file) {
  const image = find("img", item);
  const address = URL.createObjectURL(file);
  image.alt = `Your photo ${file.name || ""}`.trim();
  image.addEventListener("load", () => URL.revokeObjectURL(address));
  image.addEventListener("error", () => {
    find(".frame", item).classList.add("blank");
    find(".look", item).hidden = true;
    URL.revokeObjectURL(address);
  });
  image.src = address;
}

export function showState(item, state, share) {
  if (share !== undefined) find(".upload", item).value = share;
  find(".landmark", item).textContent = state;
}

export function showFailure(item, sentence, detail = "") {
  item.classList.add("failed");
  find(".landmark", item).textContent = "No answer";
  find(".place", item).textContent = sentence;
  find(".note", item).textContent = detail;
}

export function finish(item) {
  item.removeAttribute("aria-busy");
  find(".upload", item).hidden = true;
}

// model: the one that answered; the next champion may see another part of a photo.
export function showAnswer(item, found, model) {
  if (found.error) {
    showFailure(item, PLAIN[found.error.code] || "This photo cannot be read.", found.error.reason);
    return;
  }
  const candidates = found.candidates || [];
  headline(item, found, model);
  if (found.level) {
    const sure = find(".sure", item);
    sure.hidden = false;
    fill(find(".bar", sure), found.confidence);
    find(".percent", sure).textContent = percent(found.confidence);
  }
  tags(item, found.tags || []);
  others(item, found.level === "landmark" ? candidates.slice(1) : candidates, found.level);
  where(item, found);
  if (found.attention) look(item, found, model);
}

function headline(item, found, model) {
  const title = find(".landmark", item);
  const place = find(".place", item);
  const note = find(".note", item);
  if (!found.level) {
    title.textContent = "No known landmark here";
    note.textContent = `It scores ${percent(found.landmark_score)}, and ${percent(model.threshold)} are needed. Few photos of the ${model.landmarks} landmarks score so low.`;
  } else if (found.level === "landmark") {
    title.textContent = found.landmark;
    place.textContent = area(found);
  } else {
    title.textContent = found.level === "city" ? found.city : found.country;
    place.textContent = found.level === "city" ? found.country || "" : "";
    note.textContent = "Several landmarks there look like this; which one is uncertain.";
  }
}

function tags(item, found) {
  if (!found.length) return;
  find(".tagged", item).hidden = false;
  for (const tag of found) {
    const entry = document.createElement("li");
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = tag;
    // A description, because a name of its own would hide that the chip says "Copied".
    chip.title = "Copy this tag";
    chip.addEventListener("click", () => copy(tag, chip, find("#copied")));
    entry.append(chip);
    find(".tags", item).append(entry);
  }
  const all = find(".copy-all", item);
  all.addEventListener("click", () => copy(found.join(", "), all, find("#copied")));
}

function others(item, found, level) {
  if (!found.length) return;
  const section = find(".rest", item);
  section.hidden = false;
  find("h3", section).textContent = level === "landmark" ? "Also possible" : "What came nearest";
  for (const candidate of found) {
    const entry = document.createElement("li");
    const name = document.createElement("span");
    const bar = document.createElement("span");
    const share = document.createElement("span");
    name.textContent = area(candidate) ? `${candidate.landmark} (${area(candidate)})` : candidate.landmark;
    bar.className = "bar";
    bar.append(document.createElement("span"));
    bar.setAttribute("aria-hidden", "true");
    fill(bar, candidate.confidence);
    share.className = "percent";
    share.textContent = percent(candidate.confidence);
    entry.append(name, bar, share);
    find(".others", section).append(entry);
  }
}

function fill(bar, share) {
  bar.firstElementChild.style.width = `${share * 100}%`;
  if (bar.getAttribute("role")) bar.setAttribute("aria-valuenow", Math.round(share * 100));
}

function where(item, found) {
  if (found.latitude === null) return;
  const section = find(".where", item);
  const here = `${found.latitude.toFixed(4)}, ${found.longitude.toFixed(4)}`;
  const map = find(".map", section);
  section.hidden = false;
  map.setAttribute("aria-label", `World map with a pin at ${here}`);
  const guess = (found.candidates || [])[0];
  const both = found.distance_km !== null && guess;
  if (both) drawPin(map, guess, "pin");
  drawPin(map, found, found.location_source === "exif" ? "taken-pin" : "pin");
  const point = `${found.latitude},${found.longitude}`;
  // The middle of a city's landmarks is no place to look at from near by.
  const zoom = found.location_source === "city" ? 11 : 15;
  find(".coordinates", section).append(
    here,
    link(`geo:${point}`, "Open in maps"),
    link(`https://www.openstreetmap.org/?mlat=${found.latitude}&mlon=${found.longitude}#map=${zoom}/${found.latitude}/${found.longitude}`, "OpenStreetMap"),
  );
  find(".taken", section).textContent = origin(found, both ? guess : null);
}

function origin(found, guess) {
  if (found.location_source !== "exif") {
    return found.location_source === "landmark" ? "Where the landmark stands." : "The middle of where it may be.";
  }
  if (!guess) return "Where the photo says it was taken.";
  const far = found.distance_km < 1 ? `${Math.round(found.distance_km * 1000)} m` : `${found.distance_km.toLocaleString("en", { maximumFractionDigits: found.distance_km < 10 ? 1 : 0 })} km`;
  return `Where the photo says it was taken, ${far} from ${guess.landmark}.`;
}

function look(item, found, model) {
  // A photo that the browser cannot show, such as a TIFF, has nothing to lay the look over.
  if (find(".frame", item).classList.contains("blank")) return;
  const button = find(".look", item);
  const canvas = find(".attention", item);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = canvas.hidden;
    if (shown) drawAttention(canvas, find("img", item), found.attention, model);
    canvas.hidden = !shown;
    button.textContent = shown ? "Hide where it looked" : "Show where it looked";
  });
}

function percent(share) {
  if (share < 0.001) return "<0.1%";
  return `${(share * 100).toFixed(share > 0.995 || share < 0.0995 ? 1 : 0)}%`;
}

const area = (found) => [found.city, found.country].filter(Boolean).join(", ");
