// The server of this page: the token it wants, the model that answers, and its answers.
import { find, link } from "./elements.js";

const BUSY = 503;
const UNREADABLE = "This cannot be read. Is it a folder, or was it moved or changed? Choose the photo again.";
const NOT_ACCEPTED = "This token was not accepted.";
const SENDABLE = /^[!-~]+$/;
let token = "";
let model = null;

// The server answers nobody now; the message is empty where it wants a token, which the page asks for.
export class Unavailable extends Error {}

export async function request(address, options = {}) {
  for (;;) {
    const sent = token;
    const headers = { ...options.headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) };
    let response;
    try {
      response = await fetch(address, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unavailable("The server does not answer. Is it still running?");
    }
    if (response.status !== 401) return response;
    // It may be refused for an old token after the user has given a new one.
    if (sent === token) {
      askForToken(sent ? NOT_ACCEPTED : "");
      throw new Unavailable("");
    }
  }
}

export async function showModel() {
  try {
    const response = await request("/api/model");
    if (response.ok) describe(await response.json());
    else say("The server cannot say which model answers.");
  } catch (error) {
    say(error.message);
  }
  return model;
}

export async function knownLandmarks() {
  return (await (await request("/api/landmarks")).json()).landmarks;
}

export async function samples() {
  const numbers = [...Array(model.samples).keys()].map((index) => index + 1);
  return Promise.all(numbers.map(async (number) => {
    const blob = await (await request(`/api/sample?number=${number}`)).blob();
    return new File([blob], `postcard ${number}.jpg`, { type: blob.type });
  }));
}

// Tell the server what is right about a photo, which it keeps. Throws where it does not.
export async function correct(file, said, decision, right) {
  const response = await request(`/api/corrections?${new URLSearchParams({ said, decision, right })}`, { method: "POST", body: file });
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail || "The server could not keep it.");
}

// The answer for a photo whatever it scores, and the model that gave it; tell(state) says how far
// it is. Throws Unavailable when no photo is answered now, and when signal is aborted.
export async function ask(file, tell, signal) {
  const body = new FormData();
  body.append("photos", file, file.name);
  for (;;) {
    tell("Looking…");
    let response;
    try {
      response = await request("/api/tag?threshold=0", { method: "POST", body, signal });
    } catch (error) {
      // A request with a file that cannot be read fails as if the server did not answer.
      if (error.message && !signal.aborted && !await isReadable(file)) throw new Error(UNREADABLE);
      throw error;
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) {
      describe(answer.model);
      return { found: answer.photos[0], model: answer.model };
    }
    if (response.status !== BUSY) throw new Error(answer.detail || "The server could not answer.");
    tell("The server is busy, waiting…");
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resume) => { setTimeout(resume, seconds * 1000); });
    signal.throwIfAborted();
  }
}

async function isReadable(file) {
  try {
    // Chromium gives a file that is gone no size, and what is sliced off it can be read: nothing.
    await (file.size ? file.slice(0, 1) : file).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function say(words) {
  model = null;
  find("#model").textContent = words;
}

function describe(found) {
  if (model && model.version === found.version && model.run_id === found.run_id) return;
  model = found;
  find("#model").replaceChildren(`Answered by ${found.name} version ${found.version}`);
  if (found.run_url) find("#model").append(" · ", link(found.run_url, "its run in MLflow"));
  find("#known").hidden = false;
  find("#known summary").textContent = `The ${found.landmarks} landmarks it knows`;
  find("#samples").hidden = !found.samples;
  find("#stored").hidden = found.corrections;
}

function askForToken(problem) {
  say("");
  find("#sign-in").hidden = false;
  find("#refused").textContent = problem;
  find("#token").focus();
}

// What keeps the server from answering, in words; empty takes the notice away.
export function sayAway(reason) {
  find("#away").hidden = !reason;
  find("#reason").textContent = reason;
}

// The notices of a page: its server wants a token, or does not answer; resume: go on with what it was asked for.
export function addNotices(resume) {
  find("#notices").innerHTML = `
    <form id="sign-in" class="notice" hidden>
      <label for="token">This server asks for a token</label>
      <input id="token" type="password" autocomplete="off" aria-describedby="refused" required>
      <button type="submit" class="button">Use it</button>
      <p id="refused" class="refused" role="alert"></p>
    </form>
    <div id="away" class="notice" hidden>
      <p id="reason" class="refused" role="alert"></p>
      <button id="retry" type="button" class="button plain">Try again</button>
    </div>`;
  const again = () => {
    sayAway("");
    resume();
  };
  find("#retry").addEventListener("click", again);
  find("#sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    if (signIn()) again();
  });
}

// True when there is a token to try now.
function signIn() {
  const given = find("#token").value.trim();
  find("#token").value = "";
  find("#refused").textContent = "";
  // fetch throws for a token that no header can carry, as if the server did not answer.
  if (!SENDABLE.test(given)) {
    askForToken(`${NOT_ACCEPTED} It holds a blank or a letter that no token has.`);
    return false;
  }
  token = given;
  find("#sign-in").hidden = true;
  return true;
}
