// Words and numbers as the reader's language writes them; as space/texts.py.
import { speaker } from "./page.js";

export class Words {
  /** `table`: what words.json holds. `language`: "en" or "fr". */
  constructor(table, language) {
    Object.assign(this, { language, texts: table[language], sentences: table.sentences });
    this.say = speaker(this.texts);
    this.className = (name) => this.texts[`class_${name}`] ?? name;
  }

  number(text) {
    return this.language === "fr" ? text.replace(".", ",") : text;
  }

  /** A share, 0..1, as people write it; never a certainty that the model cannot have. */
  percent(value, digits = 0) {
    const text = digits ? (100 * value).toFixed(digits)
      : value < 0.01 ? "<1" : value > 0.99 ? ">99" : (100 * value).toFixed();
    return this.number(text) + (this.language === "fr" ? "\u202f%" : "%");
  }

  /** A sentence of the package about a file: { key, args }. */
  sentence({ key, args }) {
    if (this.language === "en") return english({ key, args });
    const value = (text) => {
      const size = /^([\d.]+)( MB)?$/.exec(text);
      return size ? this.number(size[1]) + (size[2] ? " Mo" : "") : text;
    };
    const filled = Object.fromEntries(Object.entries(args).map(([k, v]) => [k, value(String(v))]));
    return english({ key: this.sentences[key] ?? key, args: filled });
  }

  /** Several of them; "" for none. */
  all(warnings) {
    return warnings.map((warning) => this.sentence(warning)).join(" ");
  }
}

/** A sentence with its blanks filled, in the words of its key. */
export const english = ({ key, args }) =>
  Object.entries(args).reduce((text, [k, v]) => text.replaceAll(`{${k}}`, v), key);

/** Shares in whole percents that add up to 100 (largest remainder). */
export const percents = (values) => {
  const whole = values.map((value) => Math.floor(100 * value));
  const order = whole.map((_, i) => i).sort((a, b) =>
    whole[a] - 100 * values[a] - (whole[b] - 100 * values[b]));
  const left = 100 - whole.reduce((sum, count) => sum + count, 0);
  for (const i of order.slice(0, Math.max(left, 0))) whole[i]++;
  return whole.map((count) => count / 100);
};
