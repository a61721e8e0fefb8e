import { z } from 'zod';
import { filePath } from '../runtime/config/path.ts';
import { decisionNames } from './policy.ts';

/** Which model scores: an ONNX file with its manifest, or none. */
export const modelConfig = z
  .strictObject({
    onnx: filePath().optional().meta({ description: 'The ONNX file', format: 'path' }),
    manifest: filePath().optional().meta({
      description: 'Its manifest: features in order with their definitions, sha256 of the file, golden rows',
      format: 'path',
    }),
    rules_only: z
      .literal(true)
      .optional()
      .meta({ description: 'No model: the probability is 0 and only rules over features decide' }),
  })
  .refine(({ onnx, manifest, rules_only }) => (onnx === undefined) === (rules_only === true) && !onnx === !manifest, {
    message: 'give either both `onnx` and `manifest`, or `rules_only: true`',
  });

const ruleConfig = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'lower-case words joined by hyphens, such as card-burst')
    .meta({ description: "The rule's name; it stands in the `rules` of the risk events for which it fires" }),
  when: z.string().min(1).meta({
    description:
      'Fires where this is true: an expression over `probability`, features, event fields and `kind`; e.g. `card.count.1h > 20`',
  }),
  decision: z
    .enum(decisionNames)
    .meta({ description: 'What the rule asks for; the severest of all rules that fire is the decision' }),
});

/** The rules that turn probability and features into a decision. */
export const policyConfig = z
  .array(ruleConfig)
  .superRefine((rules, context) => {
    for (const [index, { name }] of rules.entries()) {
      if (rules.findIndex((rule) => rule.name === name) === index) continue;
      context.addIssue({ code: 'custom', path: [index, 'name'], message: `there are two rules named ${name}` });
    }
  })
  .meta({ description: 'Rules; the severest decision of all that fire counts, and where none fires it is approve' });

export type ModelConfig = z.output<typeof modelConfig>;
export type PolicyConfig = z.output<typeof policyConfig>;
