"use strict";
const report = (() => {
  const GIB = 2 ** 30;
  const ROWS = 20;
  const charts = new Map();
  let waiting = new Map();
  const ink = "var(--ink)";
  const comma = (value) => value.toLocaleString("en");
  const gib = (bytes) => `${(bytes / GIB).toFixed(2)} GiB`;
  const byId = (id) => document.getElementById(id);
  const axis = (more) => ({
    axisLabel: { color: ink, width: 200, overflow: "truncate" }, axisLine: { lineStyle: { color: "var(--soft)" } },
    nameTextStyle: { color: ink }, splitLine: { lineStyle: { color: "var(--line)" } }, ...more,
  });
  const below = (name, more) => axis({ type: "value", name, nameLocation: "middle", nameGap: 28, ...more });
  const tooltip = (text) => ({ trigger: "item", renderMode: "richText", confine: true, formatter: text });
  const legend = (more) => ({ type: "scroll", top: 0, textStyle: { color: ink }, ...more });
  const names = (items) => axis({ type: "category", inverse: true, data: items });
  const beside = { left: 10, right: 30, top: 36, bottom: 44, containLabel: true };
  const plain = { animation: false, textStyle: { color: ink }, aria: { enabled: false } };

  const draw = (id, option, rows) => {
    const place = byId(id);
    if (!place) return;
    place.classList.add("drawn");
    if (rows) place.style.height = `${7 + 2.4 * rows}rem`;
    const chart = charts.get(id) ?? echarts.init(place, null, { renderer: "svg" });
    charts.set(id, chart);
    chart.resize();
    chart.setOption({ ...plain, ...option }, true);
  };
  /** Draws what comes near the window, one chart after another, so that the page answers in between. */
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) setTimeout(begin, 0, entry.target.id);
  }, { rootMargin: "200px" });
  const begin = (id) => {
    const work = waiting.get(id);
    if (!work) return;
    waiting.delete(id);
    seen.unobserve(byId(id));
    work();
  };
  const later = (id, work) => {
    const place = byId(id);
    if (!place) return;
    place.classList.add("drawn");
    waiting.set(id, work);
    seen.observe(place);
  };

  /** Draws ROWS rows at a time; buttons and the order change which. */
  const paged = (id, rows, draws, orders) => {
    const pager = byId(`${id}-pager`);
    if (!pager) return;
    let at = 0;
    const select = pager.querySelector("select");
    const show = () => {
      const ordered = select && select.value !== "plan" ? rows.toSorted(orders[select.value]) : rows;
      at = Math.max(0, Math.min(at, Math.floor((rows.length - 1) / ROWS) * ROWS));
      const shown = ordered.slice(at, at + ROWS);
      pager.firstChild.textContent = rows.length > ROWS ? `${at + 1} to ${at + shown.length} of ${rows.length}` : "";
      for (const button of pager.querySelectorAll("button")) {
        const next = at + ROWS * Number(button.dataset.by);
        button.disabled = next < 0 || next >= rows.length;
        button.hidden = rows.length <= ROWS;
      }
      draws(shown);
    };
    for (const button of pager.querySelectorAll("button")) {
      button.addEventListener("click", () => { at += ROWS * Number(button.dataset.by); show(); });
    }
    select?.addEventListener("change", () => { at = 0; show(); });
    pager.hidden = rows.length < 2 || (!select && rows.length <= ROWS);
    later(id, show);
  };

  const fitted = (text, pixels) => {
    const letters = Math.floor(pixels / 7) - 1;
    return text.length <= letters ? text : letters > 3 ? `${text.slice(0, letters - 1)}…` : "";
  };
  const memory = (terms, bars) => {
    const whole = (bar) => bar.shares.reduce((sum, share) => sum + share.total_bytes, 0) + bar.rest.reduce((sum, one) => sum + Math.max(0, one.bytes), 0);
    const most = Math.max(...bars.map(whole));
    const ends = bars.filter((bar) => whole(bar) > bar.total_bytes).map((bar) => ({ value: [bar.total_bytes / GIB, bar.label], said: `${bar.label}\nall of its memory`, bytes: bar.total_bytes }));
    const width = byId("memory").clientWidth - 160;
    const layers = new Map();
    bars.forEach((bar, row) => {
      const parts = bar.shares.flatMap((share, depth) => {
        const largest = share.terms.indexOf(Math.max(...share.terms));
        return share.terms.map((bytes, index) => ({
          key: `${depth} ${index}`, name: terms[index], colour: `var(--t${index})`, bytes,
          said: `${bar.label}\n${share.server}: ${terms[index]}`,
          label: index === largest ? fitted(share.server, (width * bytes) / most) : "",
        }));
      });
      parts.push(...bar.rest.filter((one) => one.bytes >= 0).map((one) => ({
        key: one.what, name: one.what, colour: one.what === "free" ? "var(--free)" : "var(--rest)", bytes: one.bytes,
        said: `${bar.label}\n${one.what}`, label: "",
      })));
      for (const part of parts) {
        const layer = layers.get(part.key) ?? { part, data: bars.map(() => 0) };
        layers.set(part.key, layer);
        layer.data[row] = { value: part.bytes / GIB, ...part };
      }
    });
    const rank = ({ part }) => (/^\d/.test(part.key) ? Number(part.key.split(" ")[0]) * 100 + Number(part.key.split(" ")[1]) : 1e6);
    draw("memory", {
      tooltip: tooltip(({ data }) => data.bytes === undefined ? "" : `${data.said}\n${gib(data.bytes)}\n${comma(data.bytes)} bytes`),
      legend: legend(), grid: beside, xAxis: below("GiB", { max: most / GIB, axisLabel: { color: ink, showMaxLabel: false } }),
      yAxis: names(bars.map((bar) => bar.label)),
      series: [...[...layers.values()].sort((one, other) => rank(one) - rank(other)).map(({ part, data }) => ({
        type: "bar", stack: "gpu", name: part.name, data, barMaxWidth: 34, emphasis: { disabled: true },
        itemStyle: { color: part.colour, borderColor: "var(--ground)", borderWidth: 1 },
        label: { show: true, color: "var(--on)", formatter: ({ data: own }) => own.label ?? "" },
      })), ...(ends.length ? [{ type: "scatter", name: "end of the GPU", data: ends, symbol: "rect", symbolSize: [4, 44], color: ink, z: 3, emphasis: { disabled: true } }] : [])],
    }, bars.length);
  };

  const held = (own, id) => draw(id, {
    tooltip: tooltip(({ seriesName, data }) => `${seriesName}\n${comma(data[0])} tokens, ${data[1]} requests${data[2] ? `\n${gib(data[2])} for one` : ""}`),
    legend: legend(), grid: { left: 60, right: 60, top: 60, bottom: 44 },
    xAxis: below("tokens of a request", { min: 0, max: own.max_model_len }),
    yAxis: axis({ type: "value", name: "requests at once", min: 0, minInterval: 1 }),
    series: [
      { type: "line", step: "start", name: "held by the KV cache", data: own.held.map((point) => [point.tokens, point.requests, point.bytes]), color: "var(--t1)", symbolSize: 5, emphasis: { disabled: true } },
      { type: "scatter", name: "limits it is started with", data: [[own.max_model_len, own.requests]], color: "var(--t3)", symbol: "diamond", symbolSize: 14, emphasis: { disabled: true } },
      { type: "scatter", name: "guaranteed", color: "var(--t2)", symbol: "circle", symbolSize: 12, emphasis: { disabled: true },
        data: own.held.filter((point) => point.tokens === own.request_tokens || point.tokens === own.max_model_len).map((point) => [point.tokens, point.requests, point.bytes]),
        label: { show: true, position: "top", color: ink, formatter: ({ data }) => `${data[1]} of ${comma(data[0])}` } },
    ],
  });
  const pace = (own, id) => {
    const line = (name, end, type) => ({
      type: "line", name, color: "var(--t1)", lineStyle: { type }, symbolSize: 5, emphasis: { disabled: true },
      data: own.paces.map((point) => [point.requests, point.output_millitokens_per_second[end] / 1000]),
    });
    draw(id, {
      tooltip: tooltip(({ seriesName, data }) => `${seriesName}\n${data[0]} requests, ${data[1]} tokens/s`),
      legend: legend({ itemWidth: 40 }), grid: { left: 60, right: 60, top: 60, bottom: 44 },
      xAxis: below("requests at once", { minInterval: 1 }),
      yAxis: axis({ type: "value", name: "output tokens/s", min: 0 }),
      series: [line("expected", "value", "solid"), line("slow end", "low", "dashed"), line("fast end", "high", "dotted")],
    });
  };
  const starts = (all, rows) => {
    draw("starts", {
      tooltip: tooltip(({ data }) => data.said ?? ""), grid: { ...beside, top: 10 },
      xAxis: below("seconds, at the latest", { max: Math.max(...all.map((one) => one.end_seconds)) }),
      yAxis: names(rows.map((one) => one.name)),
      series: [
        { type: "bar", stack: "time", silent: true, itemStyle: { color: "transparent" }, data: rows.map((one) => one.begin_seconds) },
        { type: "bar", stack: "time", color: "var(--t1)", barMaxWidth: 34, emphasis: { disabled: true },
          label: { show: true, color: "var(--on)", formatter: ({ data }) => data.label },
          data: rows.map((one) => ({
            value: one.end_seconds - one.begin_seconds, label: `${comma(one.end_seconds)} s`,
            said: `${one.name}\nbegins after ${comma(one.begin_seconds)} s\nanswers after ${comma(one.end_seconds)} s`,
          })) },
      ],
    }, rows.length);
  };

  const bars = (id, rows, unit, kinds, scale) => draw(id, {
    tooltip: tooltip(({ name }) => `${name}\n${rows.find((row) => row.label === name).text}`), grid: { ...beside, top: 10, right: 80 },
    xAxis: below(unit, { min: 0 }), yAxis: names(rows.map((row) => row.label)),
    series: [{
      type: "bar", barMaxWidth: 34, emphasis: { disabled: true }, label: { show: true, position: "right", color: ink, formatter: ({ dataIndex }) => rows[dataIndex].text },
      data: rows.map((row) => ({ value: row.value / scale, itemStyle: { color: `var(--t${kinds.indexOf(row.kind) + 1})` } })),
    }],
  }, rows.length);
  const frontier = (own) => {
    const point = (one) => ({ value: [one.x, one.y], one, itemStyle: one.proven ? {} : { color: "var(--ground)", borderColor: "var(--t1)", borderWidth: 2 } });
    draw("frontier-chart", {
      tooltip: tooltip(({ data }) => data.one ? `point ${data.one.number}\n${own.x} ${data.one.x.toFixed(2)}\n${own.y} ${data.one.y.toFixed(2)}${data.one.proven ? "" : "\nnot proven"}` : ""),
      grid: { left: 60, right: 40, top: 40, bottom: 44 },
      xAxis: below(own.x_unit, { scale: true }),
      yAxis: axis({ type: "value", name: own.y_unit, scale: true, nameTextStyle: { color: ink, align: "left" } }),
      series: [
        { type: "line", step: own.rising ? "end" : "start", silent: true, symbol: "none", color: "var(--soft)", data: own.points.map((one) => [one.x, one.y]) },
        { type: "scatter", color: "var(--t1)", symbolSize: 12, data: own.points.map(point), emphasis: { disabled: true },
          label: { show: true, position: own.rising ? "left" : "right", color: ink, formatter: ({ data }) => String(data.one.number) }, labelLayout: { hideOverlap: true } },
      ],
    });
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => {
      const cell = row.cells[column];
      const text = (cell.querySelector("small") ?? cell).textContent.replaceAll(",", "");
      const number = Number.parseFloat(text);
      return Number.isNaN(number) ? text : number;
    };
    const compare = (one, other) => typeof one === typeof other ? (one < other ? -1 : one > other ? 1 : 0) : typeof one === "number" ? -1 : 1;
    heads.forEach((head, column) => {
      if (!head.textContent) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
        rows.sort(([one], [other]) => (down ? -1 : 1) * compare(one, other));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  };
  const copies = () => {
    for (const button of document.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const code = byId(button.dataset.copy);
        try {
          await navigator.clipboard.writeText(code.textContent);
          byId("said").textContent = "Copied.";
        } catch {
          getSelection().selectAllChildren(code);
          byId("said").textContent = "Selected; copy it with the keyboard.";
        }
      });
    }
  };

  const show = (data) => {
    charts.forEach((chart) => chart.dispose());
    charts.clear();
    seen.disconnect();
    waiting = new Map();
    document.querySelectorAll("table.sortable").forEach(sortable);
    copies();
    if (data.bars) paged("memory", data.bars, (bars) => memory(data.terms, bars), { tight: (one, other) => one.free_bytes - other.free_bytes });
    data.curves?.forEach((own, index) => {
      later(`held-${index}`, () => held(own, `held-${index}`));
      later(`pace-${index}`, () => pace(own, `pace-${index}`));
    });
    const kinds = ["there", "needed", "lacking"];
    if (data.needs?.length) later("needs", () => bars("needs", data.needs, "GiB", kinds, GIB));
    if (data.lacks?.length) later("lacks", () => bars("lacks", data.lacks, "GiB", kinds, GIB));
    if (data.left?.length) later("relaxations-chart", () => bars("relaxations-chart", data.left, "% of what it was", kinds, 10));
    if (data.frontier) later("frontier-chart", () => frontier(data.frontier));
    if (data.starts) paged("starts", data.starts, (rows) => starts(data.starts, rows));
  };
  const fit = () => charts.forEach((chart) => chart.resize());
  addEventListener("resize", fit);
  addEventListener("beforeprint", () => { [...waiting.keys()].forEach(begin); fit(); });
  addEventListener("afterprint", fit);
  show(JSON.parse(byId("data").textContent));
  return { show };
})();
