// Questions to the server: which model answers, and what it says of a photo.
import { describeModel, forgetModel } from "./model.js";
import { currentToken, headers, refuse } from "./sign_in.js";

const BUSY = 503;
const SILENT = "The server does not answer. Is it still running?";
const UNREADABLE = "This cannot be read. Is it a folder, or was it moved or changed? Choose the photo again.";

export async function showModel() {
  const sent = currentToken();
  try {
    const response = await fetch("/api/model", { headers: headers() });
    if (response.status === 401) return refuse(sent);
    if (!response.ok) throw new Error((await response.json()).detail);
    describeModel(await response.json());
  } catch {
    forgetModel("The server does not answer.");
  }
  return undefined;
}

// The answer for a photo, and the model that gave it. Meanwhile calls tell(state, share uploaded).
// Throws when signal, an AbortSignal, is aborted.
export async function ask(file, tell, signal) {
  for (;;) {
    signal.throwIfAborted();
    const sent = currentToken();
    const { status, body, retry } = await send(file, tell, signal);
    if (status === 200) {
      describeModel(body.model);
      return { found: body.photos[0], model: body.model };
    }
    if (status === 401 && sent !== currentToken()) continue;
    if (status === 401) {
      refuse(sent);
      throw new Error("A token is needed. Give it above, then choose the photo again.");
    }
    if (status !== BUSY) throw new Error(body.detail || "The server could not answer.");
    tell("The server is busy, waiting…");
    await new Promise((resume) => { setTimeout(resume, retry * 1000); });
  }
}

// XMLHttpRequest, because fetch does not report how much is uploaded.
function send(file, tell, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/tag");
    for (const [name, value] of Object.entries(headers({ "Content-Type": "application/octet-stream" }))) {
      request.setRequestHeader(name, value);
    }
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      const share = event.lengthComputable ? event.loaded / event.total : undefined;
      tell(event.loaded < event.total ? "Uploading…" : "Looking…", share);
    });
    request.addEventListener("load", () => {
      const retry = Number(request.getResponseHeader("Retry-After")) || 1;
      resolve({ status: request.status, body: request.response || {}, retry });
    });
    request.addEventListener("error", async () => reject(new Error(await isReadable(file) ? SILENT : UNREADABLE)));
    request.addEventListener("abort", () => reject(signal.reason));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

// A request with a file that cannot be read fails as if the server did not answer.
async function isReadable(file) {
  try {
    // Chromium gives a file that is gone no size, and what is sliced off it can be read: nothing.
    await (file.size ? file.slice(0, 1) : file).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
