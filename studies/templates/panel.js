"use strict";
// The panel: a candidate's recipe, and what it gained and lost beside each parent. Everything that a
// stranger wrote is set as text, never as markup.
function make(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// A recipe's lines are those of its template, but for the ones that differ.
function recipeOf({ templates, fills }, key) {
  const [template, ...changes] = fills[key];
  const lines = templates[template].slice();
  for (let i = 0; i < changes.length; i += 2) lines[changes[i]] = changes[i + 1];
  return lines.join("\n");
}

function choiceList(choices, gold, mine, theirs, names) {
  const list = make("ul", { className: "choices" });
  for (const choice of choices) {
    const said = [];
    if (choice === gold) said.push("right");
    if (choice === mine) said.push(names.mine);
    if (choice === theirs) said.push(names.theirs);
    list.append(make("li", { className: choice === gold ? "gold" : "" }, choice,
      said.length ? make("small", {}, ` ${said.join(", ")}`) : null));
  }
  return list;
}

function exampleItem(details, [place, mine, theirs], names) {
  const [task, split, question, choices, gold] = details.items[place];
  // What is none of the choices: the text that was generated, or a choice beyond those shown.
  const others = [["right", gold], [names.mine, mine], [names.theirs, theirs]]
    .filter(([, text]) => text && !choices.includes(text));
  return make("li", {}, make("p", { className: "question" }, question),
    choices.length ? choiceList(choices, gold, mine, theirs, names) : null,
    others.length ? make("dl", { className: "said" }, ...others.flatMap(([who, text]) =>
      [make("dt", {}, who), make("dd", {}, text)])) : null,
    make("small", {}, `${task}, ${split} split`));
}

function exampleBlock(details, title, total, examples, names) {
  if (!examples.length) return null;
  const more = total > examples.length ? ` (${examples.length} of ${total} shown)` : "";
  return make("div", {}, make("h5", {}, title, make("small", {}, more)),
    make("ul", { className: "examples" }, ...examples.map((one) => exampleItem(details, one, names))));
}

function barOf(gained, lost, most) {
  const share = (amount) => `${most ? (50 * amount) / most : 0}%`;
  const bar = make("span", { className: "swing", ariaHidden: "true" },
    make("i", { className: "lost" }), make("i", { className: "gained" }));
  bar.firstChild.style.width = share(lost);
  bar.lastChild.style.width = share(gained);
  return bar;
}

function comparison(details, told, who, most) {
  const [rival, column, items, gained, lost, rightOrWrong, gains, losses] = told;
  const names = { mine: who, theirs: details.short[rival] };
  const [up, down] = rightOrWrong ? ["gained", "lost"] : ["better", "worse"];
  const line = [make("b", {}, details.names[column]), barOf(gained, lost, most),
    make("span", { className: "count up" }, `+${gained} ${up}`),
    make("span", { className: "count down" }, `\u2212${lost} ${down}`),
    make("small", {}, `of ${items.toLocaleString("en")} items`)];
  if (!gains.length && !losses.length) return make("div", { className: "swingline" }, ...line);
  return make("details", { className: "swings" }, make("summary", { className: "swingline" }, ...line),
    make("div", { className: "pair" },
      exampleBlock(details, rightOrWrong ? "Gained" : "Better on", gained, gains, names),
      exampleBlock(details, rightOrWrong ? "Lost" : "Worse on", lost, losses, names)));
}

// Groups by rival, in the order in which the study names them.
function comparisons(details, key, who) {
  const all = details.against[key] ?? [];
  if (!all.length) return [make("p", { className: "caption" }, "Nothing to compare: the run tells no results of single items for this candidate.")];
  const most = Math.max(...all.map(([, , , gained, lost]) => Math.max(gained, lost)));
  const groups = Map.groupBy ? Map.groupBy(all, (one) => one[0])
    : all.reduce((map, one) => map.set(one[0], [...(map.get(one[0]) ?? []), one]), new Map());
  return [...groups].map(([rival, some]) => make("div", { className: "rival" },
    make("h4", {}, "against ", details.names[rival]), ...some.map((one) => comparison(details, one, who, most))));
}

function optionsOf(details) {
  return details.titles.map(([key, title, note]) =>
    make("option", { value: key }, note ? `${title} · ${note}` : title));
}
