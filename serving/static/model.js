// The model that answers, as the page names it above the answers.
import { find, link } from "./elements.js";

let model = null;

// words: what the line says instead, until a model is described.
export function forgetModel(words = "") {
  model = null;
  find("#model").textContent = words;
}

export function describeModel(found) {
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
