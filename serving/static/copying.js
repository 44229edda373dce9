// A button that copies, and says so for a moment: to the eye, and in a status to screen readers.
const SHOWN_MS = 1200;
const timers = new WeakMap();

export async function copy(text, button, status) {
  // At a second click the button may still say "Copied", so its own label is kept apart.
  button.dataset.label ??= button.textContent;
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
    button.textContent = button.dataset.label;
    // Another button may have said something since.
    if (status.textContent === said) status.textContent = "";
  }, SHOWN_MS));
}
