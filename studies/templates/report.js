(async () => {
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Copy buttons and the status line work without any chart.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const done = await copy(byId(button.dataset.copy).textContent);
      button.textContent = done ? "Copied" : "Select and copy by hand";
      byId("status").textContent = done ? "The recipe was copied." : "";
      button.focus();
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // The section in view, marked in the navigation.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const a of links.values()) a.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main section")) watch.observe(section);

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  // Data and plotly.js are gzip in base64; the policy admits plotly.js by its hash.
  async function unpack(id) {
    const stream = new Blob([bytesOf(byId(id).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  // Recipes and comparisons are unpacked when they are first asked for, or when there is time.
  let unpacked;
  function details() {
    unpacked ??= unpack("details-data").then(JSON.parse);
    return unpacked;
  }
  async function show(key, move = true) {
    const told = await details();
    if (!Object.hasOwn(told.recipes.fills, key)) return;
    const [, title] = told.titles.find(([one]) => one === key);
    byId("panel-title").textContent = title;
    byId("panel-choose").value = key;
    byId("panel-yaml").textContent = recipeOf(told.recipes, key);
    byId("panel-yaml").scrollTop = 0;
    byId("panel-against").replaceChildren(...comparisons(told, key, title));
    byId("panel").dataset.key = key;
    byId("panel").querySelector("[data-copy]").hidden = false;
    if (move) {
      const box = byId("panel").getBoundingClientRect();
      if (box.top < 48 || box.top > innerHeight * 0.6) byId("panel").scrollIntoView({ block: "center" });
    }
  }
  async function fillPanel() {
    if (!byId("panel")) return;
    const told = await details();
    byId("panel-choose").replaceChildren(...optionsOf(told));
    byId("panel-choice").hidden = false;
    byId("panel-choose").addEventListener("change", (event) => show(event.target.value, false));
    const first = byId("panel").dataset.key;
    if (first) await show(first, false);
    else byId("panel-choose").selectedIndex = -1; // so that the first of the list can be chosen too
  }

  function recolour(value, colours) {
    if (typeof value === "string") return Object.hasOwn(colours, value) ? colours[value] : value;
    if (Array.isArray(value)) return value.map((v) => recolour(v, colours));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, recolour(v, colours)]));
  }

  const plots = [...document.querySelectorAll("[data-figure]")];
  function config(key) {
    const tools = /^(front|matrix)/.test(key) && matchMedia("(hover: hover)").matches;
    return {
      responsive: true,
      displaylogo: false,
      displayModeBar: tools ? "hover" : false,
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
      doubleClick: tools ? "reset" : false,
    };
  }
  function react(page, plot, light, width) {
    const figure = page.figures[plot.dataset.figure];
    const { data, layout } = light ? structuredClone(figure) : recolour(figure, page.dark);
    // The trade-off is not much taller than it is wide, where there is little width.
    const most = width ? width * 0.75 : Math.max(320, plot.clientWidth * 1.25);
    const height = plot.dataset.figure.startsWith("front") ? Math.min(layout.height, most) : layout.height;
    plot.style.minHeight = `${height}px`;
    const size = width ? { autosize: false, width, height } : { autosize: true, height };
    return Plotly.react(plot, data, { ...layout, ...size }, config(plot.dataset.figure));
  }

  // Charts in view are drawn first; the others when they come near, or when there is time.
  const drawn = new Set();
  async function draw(page, plot, light, width) {
    const isNew = !drawn.has(plot);
    drawn.add(plot);
    await react(page, plot, light, width);
    if (!isNew) return;
    plot.on("plotly_click", ({ points }) => {
      const key = points[0]?.customdata?.[1];
      if (typeof key === "string") show(key);
    });
  }
  function drawAgain(page, light, width = () => undefined) {
    for (const plot of plots) draw(page, plot, light(), width(plot));
  }
  async function drawOnce(page, plot) {
    if (!drawn.has(plot)) await draw(page, plot, !dark.matches);
  }
  const idle = () => new Promise((resume) => {
    if (globalThis.requestIdleCallback) requestIdleCallback(resume, { timeout: 200 });
    else setTimeout(resume);
  });
  async function drawAll(page) {
    const near = plots.filter((plot) => plot.getBoundingClientRect().top < innerHeight);
    for (const plot of near) await drawOnce(page, plot);
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
    const soon = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) drawOnce(page, target).then(() => soon.unobserve(target));
      }
    }, { rootMargin: "50% 0px" });
    for (const plot of plots) soon.observe(plot);
    await idle();
    await fillPanel();
    for (const plot of plots) {
      await idle();
      await drawOnce(page, plot);
    }
    soon.disconnect();
  }

  try {
    for (const button of document.querySelectorAll("button[data-key]")) {
      button.addEventListener("click", () => show(button.dataset.key));
    }
    const [page, source] = await Promise.all([
      unpack("page-data").then(JSON.parse), plots.length ? unpack("plotly-data") : "",
    ]);
    if (plots.length) {
      globalThis.PlotlyConfig = { MathJaxConfig: "local" };
      const script = document.createElement("script");
      script.textContent = source;
      document.head.append(script);
    }
    const screen = () => !dark.matches;
    const wide = ".wide *, .tradeoff > :only-child *, .tradeoff.three > :first-child *";
    const ink = (plot) => (plot.matches(wide) ? 680 : 330);
    dark.addEventListener("change", () => drawAgain(page, screen));
    addEventListener("beforeprint", () => drawAgain(page, () => true, ink));
    addEventListener("afterprint", () => drawAgain(page, screen));
    await drawAll(page);
    document.documentElement.dataset.done = String(Math.round(performance.now()));
    document.documentElement.dataset.charts = String(plots.length);
  } catch (error) {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `The charts could not be drawn (${error.message}). Every number of the result is in the tables.`;
    document.documentElement.dataset.charts = "failed";
  }
})();
