// The page: photos in, a card with the answer for each. Asks nothing but its own server.
import { copy } from "./copying.js";
import { drawAttention, drawPin, loadOutline } from "./drawing.js";

const AT_ONCE = 4;
const BUSY = 503;
const NOT_ACCEPTED = "This token was not accepted.";
const SENDABLE = /^[!-~]+$/;
const find = (selector, root = document) => root.querySelector(selector);
const answers = find("#answers");
const card = find("#card").content.firstElementChild;
const waiting = [];
let active = 0;
let done = 0;
let total = 0;
// Photos that are done and have no answer: the server could not read them, or gave none.
const failed = { unread: 0, unanswered: 0 };
let token = "";
let model = null;

// What went wrong, as a person would say it; the codes are those of the API.
const PLAIN = {
  empty: "This file is empty. Copy or download it again.",
  not_an_image: "This is not a photo.",
  truncated: "This photo is damaged: part of it is missing. Copy or download it again.",
  too_many_bytes: "This file is too large. Export it smaller.",
  too_many_pixels: "This picture has too many pixels. Export it smaller.",
  unsupported: "This kind of file cannot be read. Export it as JPEG.",
};

function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function showModel() {
  const line = find("#model");
  const sent = token;
  try {
    const response = await fetch("/api/model", { headers: headers() });
    if (response.status === 401) return refuse(sent);
    if (!response.ok) throw new Error((await response.json()).detail);
    describeModel(await response.json());
  } catch {
    line.textContent = "The server does not answer.";
  }
  return undefined;
}

function describeModel(found) {
  // The link to the run may be found after the first answer.
  const known = ["version", "run_id", "run_url"];
  if (model && known.every((name) => model[name] === found[name])) return;
  model = found;
  const line = find("#model");
  line.replaceChildren(`${found.landmarks} landmarks · answered by ${found.name} version ${found.version}`);
  if (found.run_url) {
    line.append(" · ", link(found.run_url, "its run in MLflow"));
  }
}

// A request may be refused for the token of before, when another is already given.
function refuse(sent) {
  if (sent === token) askForToken(sent ? NOT_ACCEPTED : "");
}

function askForToken(problem) {
  find("#model").textContent = "";
  find("#sign-in").hidden = false;
  find("#refused").textContent = problem;
  find("#token").focus();
}

function signIn() {
  const field = find("#token");
  const given = field.value.trim();
  field.value = "";
  find("#refused").textContent = "";
  // fetch throws at what no header can carry, as if the server did not answer.
  if (!SENDABLE.test(given)) {
    askForToken(`${NOT_ACCEPTED} It holds a blank or a letter that no token has.`);
    return;
  }
  token = given;
  find("#sign-in").hidden = true;
  showModel();
}

function link(address, text) {
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.textContent = text;
  if (address.startsWith("http")) {
    anchor.target = "_blank";
    anchor.rel = "noreferrer";
  }
  return anchor;
}

// ---- photos in -------------------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const item = card.cloneNode(true);
    find(".name", item).textContent = file.name || "pasted photo";
    showPhoto(item, file);
    answers.append(item);
    waiting.push({ file, item });
    total += 1;
  }
  find("#again").hidden = total === 0;
  report();
  while (active < AT_ONCE && waiting.length) next();
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

async function next() {
  const { file, item } = waiting.shift();
  active += 1;
  try {
    show(item, await ask(file, item));
  } catch (error) {
    fail(item, "unanswered", error.message);
  } finally {
    item.removeAttribute("aria-busy");
    find(".upload", item).hidden = true;
    active -= 1;
    done += 1;
    report();
    if (waiting.length) next();
  }
}

async function ask(file, item) {
  for (;;) {
    const sent = token;
    const { status, body, retry } = await send(file, item);
    if (status === 200) {
      describeModel(body.model);
      return body.photos[0];
    }
    if (status === 401 && sent !== token) continue;
    if (status === 401) {
      refuse(sent);
      throw new Error("A token is needed. Give it above, then choose the photo again.");
    }
    if (status !== BUSY) throw new Error(body.detail || "The server could not answer.");
    find(".landmark", item).textContent = "The server is busy, waiting…";
    await new Promise((resume) => { setTimeout(resume, retry * 1000); });
  }
}

// fetch tells nothing of how far an upload is, so this is the older way to ask.
function send(file, item) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const bar = find(".upload", item);
    request.open("POST", "/api/tag");
    for (const [name, value] of Object.entries(headers({ "Content-Type": "application/octet-stream" }))) {
      request.setRequestHeader(name, value);
    }
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
      find(".landmark", item).textContent = event.loaded < event.total ? "Uploading…" : "Looking…";
    });
    request.addEventListener("load", () => {
      const retry = Number(request.getResponseHeader("Retry-After")) || 1;
      resolve({ status: request.status, body: request.response || {}, retry });
    });
    request.addEventListener("error", () => reject(new Error("The server does not answer. Is it still running?")));
    request.send(file);
  });
}

function report() {
  const parts = [];
  const answered = done - failed.unanswered;
  if (done < total) parts.push(`${answered} of ${photos(total)} answered`);
  else if (answered) parts.push(`${photos(answered)} answered`);
  if (failed.unread) parts.push(`${failed.unread} could not be read`);
  if (failed.unanswered) parts.push(`${parts.length ? failed.unanswered : photos(failed.unanswered)} got no answer`);
  find("#progress").textContent = parts.join(", ");
}

const photos = (count) => `${count} ${count === 1 ? "photo" : "photos"}`;

// ---- answers out -----------------------------------------------------------------------------

function fail(item, kind, sentence, detail = "") {
  failed[kind] += 1;
  item.classList.add("failed");
  find(".landmark", item).textContent = "No answer";
  find(".place", item).textContent = sentence;
  find(".note", item).textContent = detail;
}

function percent(share) {
  if (share < 0.001) return "<0.1%";
  return `${(share * 100).toFixed(share > 0.995 || share < 0.0995 ? 1 : 0)}%`;
}

const area = (found) => [found.city, found.country].filter(Boolean).join(", ");

function show(item, found) {
  if (found.error) {
    fail(item, "unread", PLAIN[found.error.code] || "This photo cannot be read.", found.error.reason);
    return;
  }
  const candidates = found.candidates || [];
  headline(item, found);
  if (found.level) {
    const sure = find(".sure", item);
    sure.hidden = false;
    fill(find(".bar", sure), found.confidence);
    find(".percent", sure).textContent = percent(found.confidence);
  }
  tags(item, found.tags || []);
  others(item, found.level === "landmark" ? candidates.slice(1) : candidates, found.level);
  where(item, found);
  if (found.attention && model) look(item, found);
}

function fill(bar, share) {
  bar.firstElementChild.style.width = `${share * 100}%`;
  if (bar.getAttribute("role")) bar.setAttribute("aria-valuenow", Math.round(share * 100));
}

function headline(item, found) {
  const title = find(".landmark", item);
  const place = find(".place", item);
  const note = find(".note", item);
  if (!found.level) {
    title.textContent = "No known landmark here";
    note.textContent = `It scores ${percent(found.landmark_score)} for showing one of the ${model.landmarks} landmarks; ${percent(model.threshold)} are needed.`;
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

function look(item, found) {
  // A photo that the browser cannot show, such as a TIFF, has nothing to lay the look over.
  if (find(".frame", item).classList.contains("blank")) return;
  const button = find(".look", item);
  const canvas = find(".attention", item);
  // The next champion may see another part of a photo than the one that answered.
  const answered = model;
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = canvas.hidden;
    if (shown) drawAttention(canvas, find("img", item), found.attention, answered);
    canvas.hidden = !shown;
    button.textContent = shown ? "Hide where it looked" : "Show where it looked";
  });
}

// ---- hands -----------------------------------------------------------------------------------

for (const field of [find("#choose"), find("#camera")]) {
  field.addEventListener("change", () => {
    add(field.files);
    field.value = "";
  });
}
find("#drop").addEventListener("submit", (event) => event.preventDefault());
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
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
  waiting.length = 0;
  // What is still being answered is counted, and shown nowhere.
  total = active;
  done = 0;
  Object.assign(failed, { unread: 0, unanswered: 0 });
  answers.replaceChildren();
  find("#again").hidden = true;
  report();
  find("#choose").focus();
});
find("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn();
});

showModel();
loadOutline(find("#outline"));
