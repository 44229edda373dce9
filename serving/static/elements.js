// Small ways to the elements of the page.
export const find = (selector, root = document) => root.querySelector(selector);

export function link(address, text) {
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.textContent = text;
  if (address.startsWith("http")) {
    anchor.target = "_blank";
    anchor.rel = "noreferrer";
  }
  return anchor;
}
