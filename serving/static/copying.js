// A button that copies, and says so for a moment.
const SHOWN_MS = 1200;
const timers = new WeakMap();

export async function copy(text, button) {
  // At a second click the button may still say "Copied", so its own label is kept apart.
  button.dataset.label ??= button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copying is not allowed here";
  }
  clearTimeout(timers.get(button));
  timers.set(button, setTimeout(() => { button.textContent = button.dataset.label; }, SHOWN_MS));
}
