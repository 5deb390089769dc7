// What moves in a report: sorting and sliders of the pictures, points of fronts, and the generators in their worker.
"use strict";

document.documentElement.classList.add("scripted");
const DATA = JSON.parse(document.getElementById("data").textContent);
const FIRST = 12; // pictures of a direction that show before "Show all"
const LONGEST = 512; // pixels, of an image at its own size

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const part = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// --- pictures

const view = one("#view");
const shownRight = () => Number(view?.elements.right?.value ?? 1);
const shownLeft = () => Number(view?.elements.left?.value ?? 0);

// A figure of the compact generator that is shown; of the original there is none.
function figure(card, name) {
  const values = JSON.parse(card.dataset[name]);
  return values[Math.min(Math.max(0, shownRight() - 1), values.length - 1)] ?? 0;
}

const ORDERS = {
  change: (a, b) => figure(b, "change") - figure(a, "change"),
  gain: (a, b) => figure(b, "gain") - figure(a, "gain"),
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, "en"),
};

function describe(card) {
  const change = figure(card, "change").toFixed(1), gain = figure(card, "gain");
  const text = JSON.parse(card.dataset.gain).length
    ? `, ${Math.abs(gain).toFixed(1)} ${gain < 0 ? "farther from" : "nearer to"} the truth` : "";
  one(".amount", card).textContent = `changed by ${change}${text}`;
}

function arrange() {
  const { sort, show, size, gallery } = view.elements;
  const section = one("#pictures");
  for (const name of ["difference", "beside"]) section.classList.toggle(name, show.value === name);
  section.classList.toggle("large", size.value === "large");
  for (const each of all(".gallery")) {
    each.hidden = Boolean(gallery?.value) && each.dataset.gallery !== gallery.value;
    const cases = one(".cases", each), more = one(".more", each);
    const cards = all(".case", cases).sort(ORDERS[sort.value]);
    cards.forEach((card, index) => {
      card.hidden = more.dataset.open === undefined && index >= FIRST;
      describe(card);
      choose(card);
    });
    cases.append(...cards);
    more.hidden = more.dataset.open !== undefined || cards.length <= FIRST;
  }
}

// Which translations lie left and right of the line.
function choose(card) {
  const images = all(".pair img", card); // by variant; other tasks' galleries may have fewer
  const [left, right] = [shownLeft(), shownRight()].map((variant) => images[Math.min(variant, images.length - 1)]);
  for (const image of images) {
    image.classList.toggle("left", image === left);
    image.classList.toggle("right", image === right);
  }
  one(".tag.from", card).textContent = left.dataset.maker;
  one(".tag.to", card).textContent = right.dataset.maker;
}

if (view) {
  view.addEventListener("change", arrange);
  view.addEventListener("submit", (event) => event.preventDefault());
  for (const slider of all(".slider")) {
    const move = () => slider.parentElement.style.setProperty("--at", `${slider.value}%`);
    slider.addEventListener("input", move);
    move();
  }
  for (const more of all(".more")) {
    more.addEventListener("click", () => {
      more.dataset.open = "";
      arrange();
    });
  }
  arrange();
}

// --- commands to copy, and fronts

for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const code = one("code", button.parentElement);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

for (const fronts of all(".fronts")) {
  const chosen = {};
  const write = () => {
    const text = fronts.dataset.pick.replace(/\{(A2B|B2A)\}/g, (_, side) => chosen[side] ?? 0);
    one(".command code", fronts).textContent = text;
  };
  for (const mark of all(".mark", fronts)) {
    const front = mark.closest(".front");
    const take = () => {
      chosen[mark.dataset.side] = mark.dataset.index;
      for (const other of all(".mark", front)) other.setAttribute("aria-pressed", String(other === mark));
      one("output", front).textContent = mark.getAttribute("aria-label");
      write();
    };
    mark.addEventListener("click", take);
    mark.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      take();
    });
    if (mark.classList.contains("knee")) take();
  }
  write();
}

// --- the generators

if (DATA.networks.length) startTrial();

function startTrial() {
  const text = one("#interpreter").textContent;
  const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  const form = one("#trial"), given = one("#given"), results = one("#results"), status = one("#status");
  const progress = one("#progress"), brush = given.getContext("2d", { willReadFrequently: true });
  const { network: choice, size: sizes, file, pen, width } = form.elements;
  const loaded = new Set(), speeds = {}; // milliseconds a pixel, by network
  let source = null; // the image that was given, at its own size
  let known = null; // the card of an unchanged test image
  let job = 0, queue = [], times = [], working = false;

  DATA.networks.forEach((network, index) => {
    if (network.kind === "compact" || !beside("compact", network)) {
      choice.append(part("option", { value: index, textContent: `${network.title} (${network.run})` }));
    }
  });
  const first = DATA.networks.findIndex((network) => network.direction === DATA.draws);
  if (first >= 0) choice.value = first;

  // The generator of a kind that is a network's own, or stands beside it.
  const beside = (kind, network) => DATA.networks.find((each) =>
    each.kind === kind && each.key === network.key && each.direction === network.direction);

  // The chosen generator, and the original beside it where the page has it.
  function chosen() {
    const network = DATA.networks[choice.value];
    const original = beside("original", network);
    return original && original !== network ? [network, original] : [network];
  }

  function load(network) {
    if (loaded.has(network.name)) return;
    loaded.add(network.name);
    const bytes = Uint8Array.from(atob(network.bytes), (character) => character.charCodeAt(0)).buffer;
    network.bytes = "";
    worker.postMessage({ load: network.name, network: { layers: network.layers, adds: network.adds }, bytes }, [bytes]);
  }

  // Show an image, or white, at the size that the generator is given.
  function place(image) {
    const network = DATA.networks[choice.value];
    const own = { width: image?.naturalWidth ?? image?.width, height: image?.naturalHeight ?? image?.height };
    source = image;
    let [height, wide] = network.size;
    if (image && sizes.value === "own") {
      const scale = Math.min(1, LONGEST / Math.max(own.width, own.height));
      height = Math.max(16, Math.round(own.height * scale));
      wide = Math.max(16, Math.round(own.width * scale));
    }
    given.width = wide;
    given.height = height;
    brush.fillStyle = network.background;
    brush.fillRect(0, 0, wide, height);
    if (image) {
      // The middle of the image, of the generator's proportions.
      const scale = Math.min(own.width / wide, own.height / height);
      const across = wide * scale, down = height * scale;
      brush.imageSmoothingQuality = "high";
      brush.drawImage(image, (own.width - across) / 2, (own.height - down) / 2, across, down, 0, 0, wide, height);
    }
    translate();
  }

  // (C, H, W) in [-1, 1], mirrored at the right and at the bottom up to what the generator takes.
  function read(network) {
    const { data, width: wide, height } = brush.getImageData(0, 0, given.width, given.height);
    const up = (side) => Math.ceil(side / network.multiple) * network.multiple;
    const image = { channels: network.channels, height: up(height), width: up(wide) };
    image.data = new Float32Array(image.channels * image.height * image.width);
    const mirror = (at, side) => {
      const period = Math.max(1, 2 * (side - 1)), place = at % period;
      return Math.min(place, period - place);
    };
    let next = 0;
    for (let channel = 0; channel < image.channels; channel++) {
      for (let i = 0; i < image.height; i++) {
        for (let j = 0; j < image.width; j++) {
          const at = 4 * (mirror(i, height) * wide + mirror(j, wide));
          const level = image.channels === 3 ? data[at + channel]
            : Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
          image.data[next++] = level / 127.5 - 1;
        }
      }
    }
    return image;
  }

  function translate() {
    job += 1;
    times = [];
    queue = chosen().map((network) => ({ job, network, card: known, height: given.height, width: given.width }));
    const pixels = given.width * given.height;
    const expected = queue.reduce((sum, { network }) => sum + pixels * (speeds[network.name] ?? NaN), 0);
    status.textContent = expected > 1500 ? `Translating: about ${Math.round(expected / 1000)} s.` : "Translating ...";
    results.replaceChildren(...queue.map((each) => {
      each.canvas = part("canvas", { width: each.width, height: each.height });
      each.canvas.setAttribute("role", "img");
      each.canvas.setAttribute("aria-label", `translated by the ${each.network.kind} generator`);
      each.caption = part("figcaption", { textContent: "..." });
      return part("figure", { className: "result" }, each.canvas, each.caption);
    }));
    if (!working) next();
  }

  function next() {
    const task = queue.shift();
    working = Boolean(task);
    progress.value = 0;
    if (!task) return;
    load(task.network);
    const image = read(task.network);
    worker.onmessage = ({ data }) => {
      if (data.share !== undefined) {
        progress.value = data.share;
        return;
      }
      speeds[task.network.name] = data.milliseconds / (task.width * task.height);
      if (task.job === job) finish(task, data);
      next();
    };
    worker.postMessage({ name: task.network.name, job: task.job, image }, [image.data.buffer]);
  }

  function finish(task, { image, milliseconds }) {
    const picture = task.canvas.getContext("2d").createImageData(task.width, task.height);
    for (let i = 0; i < task.height; i++) {
      for (let j = 0; j < task.width; j++) {
        const at = 4 * (i * task.width + j);
        for (let channel = 0; channel < 3; channel++) {
          const plane = Math.min(channel, image.channels - 1) * image.height;
          // Uint8ClampedArray rounds, halves to even, as PyTorch does.
          picture.data[at + channel] = (image.data[(plane + i) * image.width + j] + 1) * 127.5;
        }
        picture.data[at + 3] = 255;
      }
    }
    task.canvas.getContext("2d").putImageData(picture, 0, 0);
    const time = milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
    const apart = task.card ? `; largest difference from PyTorch's image, of 255: ${difference(task, picture)}` : "";
    task.caption.textContent = `${task.network.kind}: ${time}${apart}`;
    task.canvas.dataset.done = "";
    times.push(`${time} (${task.network.kind})`);
    if (!queue.length) {
      status.textContent = `Done: ${task.width}x${task.height} pixels in ${times.join(", ")}, here in your browser.`;
    }
  }

  // The largest difference, in levels of 255, from the picture of the page that PyTorch made.
  function difference(task, picture) {
    const image = one(`[data-variant="${task.network.variant}"]`, task.card);
    const pixels = pixelsOf(image, task.width, task.height);
    return picture.data.reduce((most, value, at) => Math.max(most, Math.abs(value - pixels[at])), 0);
  }

  function pixelsOf(image, wide, height) {
    const context = part("canvas", { width: wide, height }).getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, wide, height).data;
  }

  async function open(blob) {
    known = null;
    try {
      place(await createImageBitmap(blob));
    } catch {
      status.textContent = "That is no image that this browser can read.";
    }
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  choice.addEventListener("change", () => {
    const [height, wide] = DATA.networks[choice.value].size;
    known = null;
    if (sizes.value === "run" && (given.width !== wide || given.height !== height)) place(source);
    else translate(); // what is drawn stays
  });
  sizes.addEventListener("change", () => place(source));
  file.addEventListener("change", () => { if (file.files[0]) open(file.files[0]); });
  form.elements.clear.addEventListener("click", () => { known = null; place(null); });
  document.addEventListener("paste", (event) => {
    const item = [...event.clipboardData.items].find((each) => each.type.startsWith("image/"));
    if (item) open(item.getAsFile());
  });
  const drop = one("#drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
  }

  // Drawing: a stroke from point to point; it is translated as the pen is lifted.
  let last = null;
  const point = (event) => {
    const box = given.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
    return [across * given.width, down * given.height];
  };
  given.addEventListener("pointerdown", (event) => {
    given.setPointerCapture(event.pointerId);
    last = point(event);
    known = null;
    stroke(event);
  });
  given.addEventListener("pointermove", (event) => { if (last) stroke(event); });
  for (const name of ["pointerup", "pointercancel"]) {
    given.addEventListener(name, () => {
      if (last) translate();
      last = null;
    });
  }
  function stroke(event) {
    const [x, y] = point(event);
    brush.strokeStyle = pen.value;
    brush.lineWidth = Number(width.value);
    brush.lineCap = brush.lineJoin = "round";
    brush.beginPath();
    brush.moveTo(...last);
    brush.lineTo(x, y);
    brush.stroke();
    last = [x, y];
  }

  function use(card, index, scroll) {
    choice.value = index;
    known = card;
    sizes.value = "run";
    place(one(".source", card));
    if (scroll) one("#try").scrollIntoView();
  }

  // A compact generator of the page that made the pictures of a gallery.
  function compactIn(gallery) {
    const there = DATA.networks.filter((network) => network.kind === "compact" && network.gallery === gallery);
    return DATA.networks.indexOf(there.find((network) => network.variant === shownRight()) ?? there[0]);
  }
  for (const button of all(".use")) {
    const index = compactIn(Number(button.closest(".gallery").dataset.gallery));
    button.hidden = index < 0;
    button.addEventListener("click", () => {
      use(button.closest(".case"), compactIn(Number(button.closest(".gallery").dataset.gallery)), true);
    });
  }
  const begin = DATA.networks[choice.value];
  const card = one(`[data-gallery="${begin.gallery}"] .case`);
  const small = begin.size[0] * begin.size[1] <= 128 * 128;
  if (card && small) one(".source", card).decode().then(() => use(card, choice.value, false));
  else if (small) place(null);
  else status.textContent = `${begin.size[1]}x${begin.size[0]} pixels take some seconds. Choose an image, or draw.`;
}
