// The page: photos in, a card with the answer for each. It talks to its own server only.
import { createCard, finish, showAnswer, showFailure, showState } from "./answer_card.js";
import { ask, showModel } from "./asking.js";
import { loadOutline } from "./drawing.js";
import { find } from "./elements.js";
import { signIn } from "./sign_in.js";

const AT_ONCE = 4;
const answers = find("#answers");
// Those on the page, each with its file, card and state: waiting, asking, answered, unread (the
// server could not read it) or unanswered. `clearing` ends the question about it.
const photos = [];

function add(files) {
  for (const file of files) {
    const item = createCard(file);
    answers.append(item);
    photos.push({ file, item, state: "waiting", clearing: new AbortController() });
  }
  find("#again").hidden = photos.length === 0;
  report();
  askNext();
}

function askNext() {
  const free = AT_ONCE - count("asking");
  photos.filter(({ state }) => state === "waiting").slice(0, free).forEach(answer);
}

async function answer(photo) {
  const { file, item, clearing } = photo;
  photo.state = "asking";
  try {
    const { found, model } = await ask(file, (...state) => showState(item, ...state), clearing.signal);
    showAnswer(item, found, model);
    photo.state = found.error ? "unread" : "answered";
  } catch (error) {
    // If the photo was cleared, its card is no longer on the page.
    photo.state = "unanswered";
    showFailure(item, error.message);
  }
  finish(item);
  report();
  askNext();
}

function report() {
  const parts = [];
  const [unread, unanswered] = [count("unread"), count("unanswered")];
  const answered = count("answered") + unread;
  if (answered + unanswered < photos.length) parts.push(`${answered} of ${inWords(photos.length)} answered`);
  else if (answered) parts.push(`${inWords(answered)} answered`);
  if (unread) parts.push(`${unread} could not be read`);
  if (unanswered) parts.push(`${parts.length ? unanswered : inWords(unanswered)} got no answer`);
  find("#progress").textContent = parts.join(", ");
}

const count = (state) => photos.filter((photo) => photo.state === state).length;
const inWords = (number) => `${number} ${number === 1 ? "photo" : "photos"}`;

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
  for (const { clearing } of photos.splice(0)) clearing.abort();
  answers.replaceChildren();
  find("#again").hidden = true;
  report();
  find("#choose").focus();
});
find("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  if (signIn()) showModel();
});

showModel();
loadOutline(find("#outline"));
