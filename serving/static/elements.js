// Elements of the page: found, made, and made to copy.
const SHOWN_MS = 1200;
const timers = new WeakMap();

export const find = (selector, root = document) => root.querySelector(selector);

// properties: of the element, such as className; children: elements or text.
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function link(address, text) {
  const elsewhere = address.startsWith("http") ? { target: "_blank", rel: "noreferrer" } : {};
  return make("a", { href: address, ...elsewhere }, text);
}

// A button that copies, and says so for a moment: to the eye, and in a status to screen readers.
export function copies(button, text) {
  const label = button.textContent;
  const status = find("#copied");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copying is not allowed here";
    }
    const said = `${button.textContent}: ${text}`;
    status.textContent = said;
    clearTimeout(timers.get(button));
    timers.set(button, setTimeout(() => {
      button.textContent = label;
      // Another button may have said something since.
      if (status.textContent === said) status.textContent = "";
    }, SHOWN_MS));
  });
  return button;
}
