"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const still = { animation: false, textStyle: { color: "var(--ink)" }, aria: { enabled: false } };
  const axis = (more) => ({
    axisLabel: { color: "var(--ink)" }, axisLine: { lineStyle: { color: "var(--soft)" } },
    nameTextStyle: { color: "var(--ink)" }, splitLine: { lineStyle: { color: "var(--line)" } }, ...more,
  });
  const tooltip = (text) => ({ trigger: "item", renderMode: "richText", confine: true, formatter: text });
  const legend = { type: "scroll", textStyle: { color: "var(--ink)" } };
  const drawn = [];
  const draw = (id, option, rows) => {
    const place = document.getElementById(id);
    if (!place) return;
    place.classList.add("drawn");
    if (rows) place.style.height = `${8 + 2.5 * rows}rem`;
    const chart = echarts.init(place, null, { renderer: "svg" });
    chart.setOption({ ...still, ...option });
    drawn.push(chart);
  };
  const GIB = 2 ** 30;
  const names = [...new Set(data.bars.flatMap((bar) => bar.parts.filter((part) => part.server).map((part) => part.term)))];
  const colour = (part) => {
    const index = names.indexOf(part.term);
    if (part.server && index >= 0) return `var(--t${index})`;
    return part.term === "free" ? "var(--free)" : "var(--rest)";
  };
  const deepest = Math.max(0, ...data.bars.map((bar) => bar.parts.length));
  const layers = [];
  for (let depth = 0; depth < deepest; depth++) {
    const terms = new Set(data.bars.map((bar) => bar.parts[depth]?.term).filter((term) => term !== undefined));
    for (const term of terms) {
      layers.push({
        type: "bar", name: term, stack: "gpu",
        itemStyle: { borderColor: "var(--ground)", borderWidth: 1, color: colour(data.bars.map((bar) => bar.parts[depth]).find((part) => part?.term === term)) },
        data: data.bars.map((bar) => {
          const part = bar.parts[depth];
          return part?.term === term ? { value: part.bytes / GIB, part, gpu: bar.label } : 0;
        }),
      });
    }
  }
  draw("memory", {
    tooltip: tooltip(({ data: { part, gpu } }) => part ? `${gpu}\n${part.server} ${part.term}\n${part.bytes.toLocaleString("en")} bytes` : ""),
    legend, grid: { left: 10, right: 20, containLabel: true },
    xAxis: axis({ type: "value", name: "GiB", nameLocation: "middle", nameGap: 28 }),
    yAxis: axis({ type: "category", inverse: true, data: data.bars.map((bar) => bar.label) }), series: layers,
  }, Math.min(data.bars.length, 400));
  data.curves.forEach((own, index) => {
    draw(`held-${index}`, {
      tooltip: tooltip(({ seriesName, value }) => `${seriesName}\n${value[0]} tokens, ${value[1]} requests`),
      legend, grid: { left: 50, right: 20 },
      xAxis: axis({ type: "value", name: "tokens of a request", nameLocation: "middle", nameGap: 28 }),
      yAxis: axis({ type: "value", name: "requests at once", min: 0 }),
      series: [
        { type: "line", name: "held by the KV cache", data: own.held.map((point) => [point.tokens, point.requests]), color: "var(--t1)", symbolSize: 5 },
        { type: "scatter", name: "planned limits", data: [[own.max_model_len, own.requests]], color: "var(--t3)", symbol: "diamond", symbolSize: 14 },
        { type: "scatter", name: "guaranteed", data: own.held.filter((point) => point.tokens === own.request_tokens || point.tokens === own.max_model_len).map((point) => [point.tokens, point.requests]), color: "var(--t2)", symbol: "circle", symbolSize: 12 },
      ],
    });
    const rates = (end) => own.paces.map((point) => [point.requests, point.output_millitokens_per_second[end] / 1000]);
    const line = (name, end, type) => ({ type: "line", name, data: rates(end), color: "var(--t1)", lineStyle: { type } });
    draw(`pace-${index}`, {
      tooltip: tooltip(({ seriesName, value }) => `${seriesName}\n${value[0]} requests, ${value[1]} tokens/s`),
      legend, grid: { left: 60, right: 20 },
      xAxis: axis({ type: "value", name: "requests at once", nameLocation: "middle", nameGap: 28 }),
      yAxis: axis({ type: "value", name: "output tokens/s", min: 0 }),
      series: [line("expected", "value", "solid"), line("slow end", "low", "dashed"), line("fast end", "high", "dotted")],
    });
  });
  const nodes = new Set(data.starts.map((one) => one.node)).size;
  draw("starts", {
    tooltip: tooltip(({ name, data: { end } }) => end === undefined ? "" : `${name}: answers after ${end} s at the latest`),
    grid: { left: 10, right: 20, containLabel: true },
    xAxis: axis({ type: "value", name: "seconds, at the latest", nameLocation: "middle", nameGap: 28 }),
    yAxis: axis({ type: "category", inverse: true, data: data.starts.map((one) => (nodes > 1 ? `${one.server} on ${one.node}` : one.server)) }),
    series: [
      { type: "bar", stack: "time", silent: true, itemStyle: { color: "transparent" }, data: data.starts.map((one) => one.begin_seconds) },
      { type: "bar", stack: "time", color: "var(--t1)", data: data.starts.map((one) => ({ value: one.end_seconds - one.begin_seconds, end: one.end_seconds })) },
    ],
  }, Math.min(data.starts.length, 400));
  const resize = () => drawn.forEach((chart) => chart.resize());
  addEventListener("resize", resize);
  addEventListener("beforeprint", resize);
  addEventListener("afterprint", resize);
  const said = document.getElementById("said");
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(code.textContent);
        said.textContent = "Copied.";
      } catch {
        getSelection().selectAllChildren(code);
        said.textContent = "Selected; copy it with the keyboard.";
      }
    });
  }
})();
