// What is drawn: the land and the pins on the map, and where in a photo the network looked.
const SVG = "http://www.w3.org/2000/svg";
const NORTH = 84;

export async function loadOutline(path) {
  try {
    const response = await fetch("/static/world.txt");
    if (response.ok) path.setAttribute("d", await response.text());
  } catch {
    // Without the outline the coordinates still stand below the map.
  }
}

// The map is plate carrée: a degree is a unit, from 180° W and 84° N.
export function drawPin(map, place, kind) {
  const x = place.longitude + 180;
  const y = Math.min(Math.max(NORTH - place.latitude, 1), 141);
  for (const [name, radius] of [["halo", 9], [kind, 3.6]]) {
    const circle = document.createElementNS(SVG, "circle");
    circle.setAttribute("class", name);
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", y);
    circle.setAttribute("r", radius);
    map.append(circle);
  }
}

// One pixel a place of the grid; the browser smooths it over the part of the photo the network saw.
export function drawAttention(canvas, photo, grid, model) {
  const height = grid.length;
  const width = grid[0].length;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  grid.flat().forEach((share, index) => {
    pixels.data.set([255, 190 - 150 * share, 40, 255 * share], 4 * index);
  });
  context.putImageData(pixels, 0, 0);
  lay(canvas, photo, model);
}

function lay(canvas, photo, model) {
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
