// What an answer says: by which threshold, of what kind, in which words, and in which file.
export const SURE = 0.8;
export const LEAST = 0.01;

// The kinds that the page sorts answers into, and what each means.
export const KINDS = {
  all: ["All", ""],
  sure: ["Sure", "A landmark with a confidence of 80% or more."],
  unsure: ["Unsure", "A landmark with less confidence, or only its city or country. Have a look."],
  none: ["None", "No landmark that the model knows."],
  error: ["Error", "These could not be read or got no answer."],
};

// What went wrong, as a person would say it; the codes are those of the API.
export const REFUSALS = {
  empty: "This file is empty. Copy or download it again.",
  not_an_image: "This is not a photo.",
  truncated: "This photo is damaged: part of it is missing. Copy or download it again.",
  too_many_bytes: "This file is too large. Export it smaller.",
  too_many_pixels: "This picture has too many pixels. Export it smaller.",
  unsupported: "This kind of file cannot be read. Export it as JPEG.",
};

// The answer that the server gives at another threshold, from its answer at threshold 0.
export function judge(found, threshold) {
  if (found.error || found.landmark_score >= threshold) return found;
  const own = found.location_source === "exif" ? {} : { latitude: null, longitude: null, location_source: null };
  return {
    ...found,
    ...own,
    is_landmark: false,
    level: null,
    landmark: null,
    city: null,
    country: null,
    tags: [],
    confidence: found.candidates[0].confidence,
    distance_km: null,
  };
}

export function kindOf(answer) {
  if (answer.error) return "error";
  if (!answer.level) return "none";
  return answer.level === "landmark" && answer.confidence >= SURE ? "sure" : "unsure";
}

export const area = (place) => [place.city, place.country].filter(Boolean).join(", ");

// The title and the line below it.
export function headline(answer) {
  if (answer.error) return ["No answer", REFUSALS[answer.error.code] || answer.error.reason];
  if (!answer.level) return ["No known landmark", ""];
  if (answer.level === "landmark") return [answer.landmark, area(answer)];
  return answer.level === "city" ? [answer.city, answer.country || ""] : [answer.country, ""];
}

export function percent(share) {
  if (share < 0.001) return "<0.1%";
  if (share > 0.9995) return ">99.9%";
  return `${(share * 100).toFixed(share > 0.995 || share < 0.0995 ? 1 : 0)}%`;
}

// photos: with file, view (the answer shown), model and threshold.
export function toJson(photos) {
  return JSON.stringify(photos.map(row), null, 2);
}

// Without the candidates; lists are joined as in the tagger's table.
export function toCsv(photos) {
  const rows = photos.map(row).map(({ candidates, error, ...fields }) => (
    { ...fields, error: error && error.code, reason: error && error.reason }
  ));
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const cell = (value) => {
    const text = Array.isArray(value) ? value.join(";") : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows.map((fields) => columns.map((name) => fields[name]))]
    .map((cells) => `${cells.map(cell).join(",")}\r\n`).join("");
}

function row({ file, view, model, threshold }) {
  const { attention, name, ...fields } = view;
  const by = model ? { model: `${model.name}/${model.version}`, threshold } : {};
  return { name: file.name, ...fields, ...by };
}
