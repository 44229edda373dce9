// The description of the API, laid out from openapi.json; loads nothing from elsewhere.
const api = document.querySelector("#api");

function add(parent, name, text = "") {
  const element = document.createElement(name);
  element.textContent = text;
  parent.append(element);
  return element;
}

function row(table, cells, kind = "td") {
  const line = add(table, "tr");
  for (const cell of cells) add(line, kind, cell);
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items || {})}`;
  return schema.type || "any";
}

function describe(path, method, call) {
  const section = add(api, "section");
  add(section, "h2", `${method.toUpperCase()} ${path}`);
  add(section, "p", call.summary || "");
  if (call.parameters) {
    const table = add(section, "table");
    row(table, ["parameter", "type", "meaning"], "th");
    for (const item of call.parameters) {
      row(table, [item.name, typeOf(item.schema), item.schema.description || item.description || ""]);
    }
  }
  const table = add(section, "table");
  row(table, ["status", "meaning", "answer"], "th");
  for (const [status, answer] of Object.entries(call.responses)) {
    const schema = answer.content && Object.values(answer.content)[0].schema;
    row(table, [status, answer.description, schema ? typeOf(schema) : ""]);
  }
}

function describeType(name, schema) {
  const section = add(api, "section");
  add(section, "h2", name);
  add(section, "p", schema.description || "");
  const table = add(section, "table");
  row(table, ["field", "type", "meaning"], "th");
  for (const [field, value] of Object.entries(schema.properties || {})) {
    row(table, [field, typeOf(value), value.description || ""]);
  }
}

document.querySelector("#example").textContent = [
  `curl -F photos=@one.jpg -F photos=@two.jpg ${location.origin}/api/tag`,
  `curl --data-binary @one.jpg -H 'Content-Type: image/jpeg' '${location.origin}/api/tag?top_k=3'`,
].join("\n");
const found = await (await fetch("/openapi.json")).json();
for (const [path, calls] of Object.entries(found.paths)) {
  for (const [method, call] of Object.entries(calls)) describe(path, method, call);
}
for (const [name, schema] of Object.entries(found.components.schemas)) {
  if (!name.includes("Validation")) describeType(name, schema);
}
