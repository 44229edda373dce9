// The description of the API, laid out from openapi.json; loads nothing from elsewhere.
import { REFUSALS } from "./answer.js";
import { find, make } from "./elements.js";

// The order in which one meets the types; others follow.
const ORDER = ["Answers", "PhotoAnswer", "Candidate", "Refusal", "Model", "Landmarks", "Landmark"];

// Text of the description, in which `code` stands between backticks.
function prose(text = "") {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function table(heads, rows) {
  const line = (cells, kind) => make("tr", {}, ...cells.map((cell) => make(kind, {}, ...[cell].flat())));
  return make("table", {}, line(heads, "th"), ...rows.map((cells) => line(cells, "td")));
}

function typeOf(schema = {}) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [make("a", { href: `#${name}` }, name)];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, index) => [...(index ? [" or "] : []), ...typeOf(one)]);
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  return [schema.type || ""];
}

// The limits and the default of a parameter, in words.
function limits({ schema }) {
  const { minimum, maximum } = (schema.anyOf || [schema]).find((one) => "minimum" in one) || {};
  const range = minimum === undefined ? "" : `; ${minimum} to ${maximum}`;
  return schema.default === undefined ? range : `${range}; default ${schema.default}`;
}

function describeCall(path, method, call) {
  const section = make("section", {}, make("h2", {}, `${method.toUpperCase()} ${path}`), make("p", {}, ...prose(call.summary)));
  if (call.requestBody) {
    section.append(make("p", {}, `Send ${call.requestBody.description}.`));
  }
  if (call.parameters) {
    section.append(table(["parameter", "type", "meaning"], call.parameters.map((item) => (
      [item.name, typeOf(item.schema), prose(`${item.description || item.schema.description}${limits(item)}`)]
    ))));
  }
  section.append(table(["status", "answer", "meaning"], Object.entries(call.responses).map(([status, answer]) => {
    const [kind, content] = Object.entries(answer.content || {})[0] || ["", {}];
    const type = content.schema?.$ref ? typeOf(content.schema) : kind;
    return [status, type, prose(answer.description === "Successful Response" ? "It worked." : answer.description)];
  })));
  return section;
}

function describeType(name, schema) {
  const section = make(
    "section",
    { id: name },
    make("h2", {}, name),
    make("p", {}, ...prose(schema.description)),
    table(["field", "type", "meaning"], Object.entries(schema.properties).map(([field, value]) => (
      [field, typeOf(value), prose(value.description)]
    ))),
  );
  if (name === "Refusal") {
    section.append(table(["code", "what the page says"], Object.entries(REFUSALS)));
  }
  return section;
}

find("#example").textContent = [
  `curl -F photos=@one.jpg -F photos=@two.jpg ${location.origin}/api/tag`,
  `curl --data-binary @one.jpg -H 'Content-Type: image/jpeg' '${location.origin}/api/tag?top_k=3'`,
].join("\n");
const { paths, components } = await (await fetch("/openapi.json")).json();
const names = new Set([...ORDER, ...Object.keys(components.schemas)]);
find("#api").append(
  ...Object.entries(paths).flatMap(([path, calls]) => (
    Object.entries(calls).map(([method, call]) => describeCall(path, method, call))
  )),
  ...[...names].map((name) => describeType(name, components.schemas[name])),
);
