// The card of one photo: small in the grid; opened, with everything that is known about it.
import { LEAST, area, headline, kindOf, percent } from "./answer.js";
import { copies, find, link, make } from "./elements.js";
import { correct, knownLandmarks } from "./server.js";

const blank = find("#card").content.firstElementChild;
const details = find("#details").content;

// opened: called when the card is opened or closed.
export class Card {
  constructor(file, opened) {
    this.file = file;
    this.item = blank.cloneNode(true);
    this.image = find("img", this.item);
    this.address = URL.createObjectURL(file);
    this.image.addEventListener("error", () => this.item.classList.add("blank"));
    this.image.src = this.address;
    find(".name", this.item).textContent = file.name || "pasted photo";
    find(".face", this.item).addEventListener("click", () => {
      this.toggle();
      opened();
    });
  }

  get isOpen() {
    return this.item.classList.contains("open");
  }

  tell(state) {
    find(".landmark", this.item).textContent = state;
  }

  // view: the answer at the threshold; model: the one that answered, absent where none did.
  show(view, model, threshold) {
    Object.assign(this, { view, model, threshold });
    const kind = kindOf(view);
    const [title, place] = headline(view);
    const sure = find(".sure", this.item);
    this.item.dataset.kind = kind;
    this.item.removeAttribute("aria-busy");
    this.tell(title);
    find(".place", this.item).textContent = place;
    sure.hidden = !view.level;
    if (view.level) {
      fill(find(".bar", sure), view.confidence);
      find(".percent", sure).textContent = percent(view.confidence);
    }
    if (this.isOpen) this.describe();
  }

  toggle() {
    if (!this.view) return;
    const open = this.item.classList.toggle("open");
    find(".face", this.item).setAttribute("aria-expanded", String(open));
    if (open) this.describe();
    else find(".more", this.item).replaceChildren();
  }

  remove() {
    this.item.remove();
    URL.revokeObjectURL(this.address);
  }

  describe() {
    const { view } = this;
    const more = details.cloneNode(true);
    const frame = find(".frame", more);
    const look = find(".look", more);
    const photo = find("img", more);
    // A photo that the browser cannot show, such as a TIFF, has nothing to lay the look over.
    photo.addEventListener("error", () => {
      frame.classList.add("blank");
      look.hidden = true;
    });
    photo.src = this.address;
    find(".note", more).textContent = this.note();
    this.tag(find(".tagged", more));
    this.rank(find(".rest", more));
    this.place(find(".where", more));
    if (view.attention) this.look(look, find(".attention", more), photo);
    if (this.model?.corrections && !view.error) this.correct(find(".correct", more));
    find(".more", this.item).replaceChildren(more);
  }

  note() {
    const { view, model, threshold } = this;
    if (view.error) return view.error.reason;
    if (!view.level) {
      return `It scores ${percent(view.landmark_score)}, and ${percent(threshold)} are needed. Few photos of the ${model.landmarks} landmarks score so low.`;
    }
    if (view.level === "landmark") return "";
    return "Several landmarks there look like this; which one is uncertain.";
  }

  tag(section) {
    const tags = this.view.tags || [];
    section.hidden = !tags.length;
    for (const tag of tags) {
      // A description, because a name of its own would hide that the chip says "Copied".
      const chip = make("button", { type: "button", className: "chip", title: "Copy this tag" }, tag);
      find(".tags", section).append(make("li", {}, copies(chip, tag)));
    }
    copies(find(".copy-all", section), tags.join(", "));
  }

  rank(section) {
    const { level, candidates } = this.view;
    const named = level === "landmark";
    const shown = (candidates || []).slice(named ? 1 : 0).filter(({ confidence }) => confidence >= LEAST);
    section.hidden = !shown.length;
    find("h3", section).textContent = named ? "Also possible" : "What came nearest";
    for (const candidate of shown) {
      const bar = make("span", { className: "bar", ariaHidden: "true" }, make("span"));
      const there = area(candidate);
      fill(bar, candidate.confidence);
      find(".others", section).append(make(
        "li",
        {},
        make("span", {}, there ? `${candidate.landmark} (${there})` : candidate.landmark),
        bar,
        make("span", { className: "percent" }, percent(candidate.confidence)),
      ));
    }
  }

  place(section) {
    const { view } = this;
    section.hidden = typeof view.latitude !== "number";
    if (section.hidden) return;
    const point = `${view.latitude},${view.longitude}`;
    // The middle of a city's landmarks is no place to look at from near by.
    const zoom = view.location_source === "city" ? 11 : 15;
    find(".coordinates", section).append(
      `${view.latitude.toFixed(4)}, ${view.longitude.toFixed(4)}`,
      link(`geo:${point}`, "Open in maps"),
      link(`https://www.openstreetmap.org/?mlat=${view.latitude}&mlon=${view.longitude}#map=${zoom}/${view.latitude}/${view.longitude}`, "OpenStreetMap"),
    );
    find(".taken", section).textContent = origin(view);
  }

  correct(form) {
    form.hidden = false;
    const field = find(".right", form);
    const tell = async (decision, right, words) => {
      try {
        await correct(this.file, this.view.landmark || "", decision, right);
        this.told = words;
        field.value = "";
      } catch (error) {
        this.told = error.message;
      }
      show();
    };
    const show = () => {
      if (this.told) find(".told", form).textContent = this.told;
      find(".undo", form).hidden = !this.told?.startsWith("Kept");
    };
    field.addEventListener("focus", nameLandmarks, { once: true });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const right = field.value.trim();
      if (right) tell("landmark", right, `Kept: this is ${right}.`);
    });
    find(".wrong", form).addEventListener("click", () => tell("rejected", "", "Kept: this is wrong."));
    find(".none", form).addEventListener("click", () => tell("no_landmark", "", "Kept: this is no landmark."));
    find(".undo", form).addEventListener("click", () => tell("undone", "", "Nothing is kept of this photo."));
    show();
  }

  look(button, canvas, photo) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const shown = canvas.hidden;
      if (shown) drawAttention(canvas, photo, this.view.attention, this.model);
      canvas.hidden = !shown;
      button.textContent = shown ? "Hide where it looked" : "Show where it looked";
    });
  }
}

async function nameLandmarks() {
  const known = await knownLandmarks().catch(() => []);
  find("#landmarks").replaceChildren(...known.map(({ landmark }) => make("option", { value: landmark })));
}

function fill(bar, share) {
  bar.firstElementChild.style.width = `${share * 100}%`;
}

function origin(view) {
  if (view.location_source === "landmark") return "Where the landmark stands.";
  if (view.location_source === "city") return "The middle of where it may be.";
  if (view.distance_km === null) return "Where the photo says it was taken.";
  const km = view.distance_km;
  const far = km < 1 ? `${Math.round(km * 1000)} m` : `${km.toLocaleString("en", { maximumFractionDigits: km < 10 ? 1 : 0 })} km`;
  return `Where the photo says it was taken, ${far} from ${view.candidates[0].landmark}.`;
}

// One pixel a place of the grid; the browser smooths it over the part of the photo the network saw.
function drawAttention(canvas, photo, grid, model) {
  canvas.width = grid[0].length;
  canvas.height = grid.length;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  grid.flat().forEach((share, index) => {
    pixels.data.set([255, 190 - 150 * share, 40, 255 * share], 4 * index);
  });
  context.putImageData(pixels, 0, 0);
  const { clientWidth: width, clientHeight: height } = photo;
  const side = Math.min(width, height) * model.visible;
  const [wide, high] = model.framing === "crop" ? [side, side] : [width, height];
  Object.assign(canvas.style, {
    left: `${(100 * (width - wide)) / 2 / width}%`,
    top: `${(100 * (height - high)) / 2 / height}%`,
    width: `${(100 * wide) / width}%`,
    height: `${(100 * high) / height}%`,
  });
}
