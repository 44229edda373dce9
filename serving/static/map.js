// The map of the world: its land, and pins on it.
const SVG = "http://www.w3.org/2000/svg";
// A degree is a unit: x = longitude + 180, y = 90 - latitude, from 84° N to 58° S.
const WORLD = { left: 0, top: 6, width: 360, height: 142 };
const NARROWEST = 100;

export async function loadOutline(path) {
  try {
    const response = await fetch("/static/world.txt");
    if (response.ok) path.setAttribute("d", await response.text());
  } catch {
    // Without the outline the pins still stand where they should.
  }
}

// Show pins and what lies around them. Each has latitude, longitude, title, and may have kind,
// marked (stands out) and choose (called at a click).
export function drawMap(map, pins, label) {
  // Those that stand out are drawn last, above the others.
  pins.sort((one, other) => Boolean(one.marked) - Boolean(other.marked));
  const points = pins.map((pin) => [pin.longitude + 180, 90 - Math.min(Math.max(pin.latitude, -57), 83)]);
  const { left, top, width, height } = frame(points);
  const unit = width / WORLD.width;
  map.setAttribute("viewBox", [left, top, width, height].join(" "));
  map.setAttribute("aria-label", label);
  map.querySelectorAll("circle").forEach((circle) => circle.remove());
  const draw = ([x, y], pin, kind, radius) => {
    const circle = document.createElementNS(SVG, "circle");
    for (const [name, value] of Object.entries({ class: kind, cx: x, cy: y, r: radius * unit })) {
      circle.setAttribute(name, value);
    }
    circle.append(document.createElementNS(SVG, "title"));
    circle.firstChild.textContent = pin.title;
    if (pin.choose) circle.addEventListener("click", pin.choose);
    map.append(circle);
  };
  pins.forEach((pin, index) => {
    if (pin.marked) draw(points[index], pin, "halo", 9);
    draw(points[index], pin, pin.kind || "pin", 4);
  });
}

// A part of the world with all points and some room around them.
function frame(points) {
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const ratio = WORLD.width / WORLD.height;
  const across = Math.max(...xs) - Math.min(...xs);
  const down = Math.max(...ys) - Math.min(...ys);
  const width = Math.max(NARROWEST, across * 1.25, down * 1.4 * ratio);
  if (!points.length || width >= WORLD.width) return WORLD;
  const height = width / ratio;
  const start = (values, size, from, all) => {
    const middle = (Math.max(...values) + Math.min(...values)) / 2;
    return Math.min(Math.max(middle - size / 2, from), from + all - size);
  };
  return {
    left: start(xs, width, WORLD.left, WORLD.width),
    top: start(ys, height, WORLD.top, WORLD.height),
    width,
    height,
  };
}
