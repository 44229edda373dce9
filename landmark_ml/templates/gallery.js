// Search and sort what stands on the page. Without a script all of it is there, by date.
const tools = document.querySelector(".tools");
const items = [...document.querySelectorAll("[data-words]")];
if (tools && items.length > 1) {
  const [find, order, found] = ["input", "select", "output"].map((name) => tools.querySelector(name));
  tools.hidden = false;
  const search = () => {
    const words = find.value.toLowerCase().split(/\s+/);
    let count = 0;
    for (const item of items) {
      const text = `${item.dataset.words} ${item.textContent}`.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      count += !item.hidden;
    }
    for (const section of document.querySelectorAll("main section")) {
      section.hidden = !section.querySelector("[data-words]:not([hidden])");
    }
    found.textContent = find.value.trim() ? `${count} of ${items.length}` : "";
  };
  const sort = () => {
    const [key, sign] = { date: ["date", 1], newest: ["date", -1], confidence: ["confidence", -1], name: ["name", 1] }[order.value];
    const value = (item) => (key === "confidence" ? Number(item.dataset[key] || 0) : item.dataset[key]);
    const photos = items.filter((item) => "date" in item.dataset);
    photos.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      // What has no date comes last either way.
      if (a === b || a === "" || b === "") return (a === "") - (b === "");
      return a < b ? -sign : sign;
    });
    photos.forEach((item) => item.parentElement.append(item));
  };
  find.addEventListener("input", search);
  order?.addEventListener("change", sort);
  // A page that is opened again keeps what was typed and chosen.
  search();
  if (order) sort();
}
