// Display: panes, overlays and window.

const remembered = { layout: null, overlay: null, opacity: 60, hidden: false, lungs: true, divider: null, views: new Map() };
const NARROW = 560; // CSS pixels, below which panes are stacked

// Where supported, the box that also changes with the screen.
const BOX = "devicePixelContentBoxSize" in ResizeObserverEntry.prototype ? { box: "device-pixel-content-box" } : {};

class Screen {
  constructor(root) {
    this.root = root;
    this.stage = root.querySelector(".stage");
    this.panes = [];
    this.source = document.createElement("canvas");
    this.sizes = new ResizeObserver((entries) => this.resized(entries));
    this.room = new ResizeObserver(() => this.arrange());
    this.room.observe(root);
  }

  close() {
    this.sizes.disconnect();
    this.room.disconnect();
  }

  fail(error) {
    this.shown = null;
    this.stage.textContent = "This browser cannot display the image.";
    this.stage.classList.remove("waiting");
    console.error(error);
  }

  async show({ header, part }) {
    const request = (this.request = {});
    this.stage.setAttribute("aria-busy", "true");
    this.stage.classList.toggle("waiting", this.header?.id !== header.id); // hide the previous image
    const bitmap = (name) => createImageBitmap(new Blob([part(name)], { type: "image/png" }));
    const layers = header.panes.map(async (pane) =>
      Object.fromEntries(await Promise.all(Object.entries(pane.layers).map(async ([name, own]) => [name, await bitmap(own)]))),
    );
    const outline = header.outline ? bitmap(header.outline) : null;
    const found = await Promise.all([imageOf(header.id).arrived, outline, ...layers]);
    if (request !== this.request) return; // superseded by newer data
    const known = this.header?.id === header.id;
    [this.image, this.outline, ...this.layers] = found;
    this.header = header;
    if (!known) {
      this.view = remembered.views.get(header.id) ?? this.first();
      remembered.views.set(header.id, this.view);
      this.source.width = this.image.width;
      this.source.height = this.image.height;
      this.bitmap = new ImageData(this.image.width, this.image.height);
      this.root.style.setProperty("--shape", this.image.width / this.image.height);
      this.stale = true;
    }
    this.setControls();
    this.arrange(true);
  }

  first() {
    return { fit: true, zoom: 1, x: this.image.width / 2, y: this.image.height / 2, low: null, high: null, inverted: false };
  }

  // Controls that depend on the header alone.
  setControls() {
    const { overlays, outline, note } = this.header;
    const { span, low, high } = this.image;
    this.find(".note").textContent = note;
    const choice = this.find(".overlay");
    choice.replaceChildren(
      ...overlays.map(([name]) => Object.assign(document.createElement("option"), { value: name, textContent: name })),
    );
    if (!overlays.some(([name]) => name === remembered.overlay)) remembered.overlay = overlays[0][0];
    this.find(".lungs").hidden = !outline;
    this.find("[data-do=full]").hidden = span[0] === low && span[1] === high;
    this.find("[data-do=fullscreen]").hidden = !document.fullscreenEnabled;
    this.one = span[1] - span[0] > 20 ? 1 : 0; // integer gray values: a width counts both ends, PS3.3 C.11.2.1.2
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // --- panes ---

  get layout() {
    return remembered.layout ?? (this.root.clientWidth < NARROW ? "swipe" : "side");
  }

  // Side by side, or the last two panes in one frame with a divider.
  arrange(anew = false) {
    if (!this.header) return;
    this.root.classList.toggle("narrow", this.root.clientWidth < NARROW);
    const shown = `${this.layout} ${this.header.panes.length}`;
    if (shown !== this.shown) {
      this.shown = shown;
      this.build();
    }
    if (anew) this.label();
    this.draw();
  }

  build() {
    const all = this.header.panes.map((_, k) => [k]);
    this.panes = (this.layout === "side" ? all : [all.slice(-2).flat()]).map((own) => {
      const figure = document.createElement("figure");
      const frame = figure.appendChild(Object.assign(document.createElement("div"), { className: "frame" }));
      const canvas = frame.appendChild(document.createElement("canvas"));
      canvas.setAttribute("role", "img");
      const caption = figure.appendChild(document.createElement("figcaption"));
      return { own, figure, frame, canvas, caption, divider: own.length > 1 ? this.divide(frame) : null };
    });
    this.sizes.disconnect();
    this.stage.replaceChildren(...this.panes.map(({ figure }) => figure));
    for (const { canvas } of this.panes) this.sizes.observe(canvas, BOX);
    this.label();
  }

  label() {
    for (const { own, canvas, caption } of this.panes) {
      const panes = own.map((k) => this.header.panes[k]);
      canvas.setAttribute("aria-label", panes.map(({ alt }) => alt).join("; right of the divider: "));
      const texts = panes.map(({ caption }) => Object.assign(document.createElement("span"), { textContent: caption }));
      caption.replaceChildren(...texts);
    }
  }

  divide(frame) {
    const divider = frame.appendChild(Object.assign(document.createElement("div"), { className: "divider", tabIndex: 0 }));
    for (const [name, value] of Object.entries({ role: "slider", "aria-label": "Divider", "aria-valuemin": 0, "aria-valuemax": 100 }))
      divider.setAttribute(name, value);
    divider.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      divider.setPointerCapture(event.pointerId);
    });
    divider.addEventListener("pointermove", (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const box = frame.getBoundingClientRect();
      this.swipe((event.clientX - box.left) / box.width);
    });
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.swipe(this.divider + step);
    });
    return divider;
  }

  // At first most of the heat map is shown, or as much of one as of the other.
  get divider() {
    return remembered.divider ?? (this.header.panes.length > 2 ? 0.5 : 0.1);
  }

  swipe(place) {
    remembered.divider = Math.min(1, Math.max(0, place));
    this.draw();
  }

  // The canvas has exactly as many pixels as on the screen, so that the browser does not resample it.
  resized(entries) {
    for (const { target, contentBoxSize, devicePixelContentBoxSize } of entries) {
      const own = (side) => {
        const about = contentBoxSize[0][side] * window.devicePixelRatio;
        const exact = devicePixelContentBoxSize?.[0][side] ?? about;
        return Math.max(1, Math.round(Math.abs(exact - about) < 1 ? exact : about)); // emulated screens report CSS pixels
      };
      target.width = own("inlineSize");
      target.height = own("blockSize");
    }
    this.paint();
  }

  // --- drawing ---

  draw() {
    this.asked ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.asked);
    this.asked = null;
    if (!this.header || !this.panes.length) return;
    if (this.view.fit) this.settle();
    if (this.stale) this.applyWindow();
    for (const pane of this.panes) this.lay(pane);
    this.tell();
    this.stage.setAttribute("aria-busy", "false");
    this.stage.classList.remove("waiting");
  }

  settle() {
    const { width, height } = this.panes[0].canvas;
    const { image, view } = this;
    Object.assign(view, { zoom: Math.min(width / image.width, height / image.height), x: image.width / 2, y: image.height / 2 });
  }

  // Apply the window: the gray value of every level, then of every pixel.
  applyWindow() {
    const { view, source } = this;
    const { slope, intercept, negative, padded, grays, values } = this.image;
    const width = view.high - view.low;
    const shades = Uint32Array.from(grays, (gray, level) => {
      if (view.low !== null) {
        const share = Math.min(1, Math.max(0, (slope * level + intercept - view.low) / width));
        gray = Math.round(255 * (negative ? 1 - share : share));
        if (padded && level >= padded[0] && level <= padded[1]) gray = 0;
      }
      if (view.inverted) gray = 255 - gray;
      return 0xff000000 | (gray << 16) | (gray << 8) | gray;
    });
    const pixels = new Uint32Array(this.bitmap.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = shades[values[i]];
    source.getContext("2d").putImageData(this.bitmap, 0, 0);
    this.stale = false;
  }

  // Position of the image's upper left corner, in whole pixels of the screen.
  corner(canvas) {
    const { x, y, zoom } = this.view;
    return [Math.round(canvas.width / 2 - x * zoom), Math.round(canvas.height / 2 - y * zoom)];
  }

  lay({ own, frame, canvas, divider }) {
    const context = canvas.getContext("2d");
    context.globalAlpha = 1;
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const place = [...this.corner(canvas), this.source.width * this.view.zoom, this.source.height * this.view.zoom];
    const cover = (image, alpha, smooth) => {
      context.globalAlpha = alpha;
      context.imageSmoothingEnabled = smooth;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, ...place);
    };
    cover(this.source, 1, this.view.zoom < 1);
    const split = Math.round(this.divider * canvas.width);
    own.forEach((k, i) => {
      const layer = remembered.hidden ? null : this.layers[k][remembered.overlay];
      const mapped = Object.keys(this.layers[k]).length > 0;
      context.save();
      if (own.length > 1) {
        context.beginPath();
        context.rect(i ? split : 0, 0, i ? canvas.width - split : split, canvas.height);
        context.clip();
      }
      if (layer) cover(layer, remembered.opacity / 100, true);
      if (mapped && this.outline && remembered.lungs) cover(this.outline, 1, true);
      context.restore();
    });
    frame.classList.toggle("moved", !this.view.fit);
    if (!divider) return;
    divider.style.left = `${100 * this.divider}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * this.divider));
    divider.setAttribute("aria-valuetext", `${Math.round(100 * this.divider)}% from the left`);
  }

  // --- status ---

  get ends() {
    return this.view.low === null ? [this.image.low, this.image.high] : [this.view.low, this.view.high];
  }

  tell() {
    const { view } = this;
    const [low, high] = this.ends;
    const percent = 100 * view.zoom;
    const zoom = `${Math.abs(percent - 100) < 1 && percent !== 100 ? percent.toFixed(1) : Math.round(percent)}%`;
    const digits = this.one ? 0 : 3;
    const level = ((low + high + this.one) / 2).toFixed(digits);
    const width = (high - low + this.one).toFixed(digits);
    this.find(".zoom").textContent = zoom;
    for (const [selector, text] of [[".level", level], [".width", width]]) {
      const field = this.find(selector);
      if (field.getRootNode().activeElement !== field) field.value = text;
    }
    const pressed = { fit: view.fit, exact: view.zoom === 1, invert: view.inverted };
    Object.assign(pressed, { side: this.layout === "side", swipe: this.layout === "swipe" });
    for (const [name, on] of Object.entries(pressed)) this.find(`[data-do=${name}]`).setAttribute("aria-pressed", on);
    const [overlay, title] = this.header.overlays.find(([name]) => name === remembered.overlay);
    Object.assign(this.find(".overlay"), { value: overlay, title: `Overlay (d): ${title}` });
    this.find(".opacity").value = remembered.hidden ? 0 : remembered.opacity;
    this.find(".lungs input").checked = remembered.lungs;
    const heatMap = remembered.hidden ? "heat map hidden" : `heat map at ${remembered.opacity}%`;
    const values = `window level ${level}, window width ${width}${view.inverted ? ", inverted" : ""}`;
    const status = `Zoom ${zoom}, ${values}, ${heatMap}`;
    clearTimeout(this.speech);
    this.speech = setTimeout(() => (this.find(".status").textContent = status), 400);
  }
}
