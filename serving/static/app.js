// The page: photos in, a card with the answer for each. Asks nothing but its own server.
import { createCard, finish, showAnswer, showFailure, showState } from "./answer_card.js";
import { ask, showModel } from "./asking.js";
import { loadOutline } from "./drawing.js";
import { find } from "./elements.js";
import { signIn } from "./sign_in.js";

const AT_ONCE = 4;
const answers = find("#answers");
const waiting = [];
let active = 0;
let done = 0;
let total = 0;
// Photos that are done and have no answer: the server could not read them, or gave none.
const failed = { unread: 0, unanswered: 0 };

function add(files) {
  for (const file of files) {
    const item = createCard(file);
    answers.append(item);
    waiting.push({ file, item });
    total += 1;
  }
  find("#again").hidden = total === 0;
  report();
  while (active < AT_ONCE && waiting.length) next();
}

async function next() {
  const { file, item } = waiting.shift();
  active += 1;
  try {
    const { found, model } = await ask(file, (...state) => showState(item, ...state));
    showAnswer(item, found, model);
    if (found.error) failed.unread += 1;
  } catch (error) {
    failed.unanswered += 1;
    showFailure(item, error.message);
  } finally {
    finish(item);
    active -= 1;
    done += 1;
    report();
    if (waiting.length) next();
  }
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
  if (signIn()) showModel();
});

showModel();
loadOutline(find("#outline"));
