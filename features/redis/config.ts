import { z } from 'zod';
import { tlsConfig } from '../../runtime/config/tls.ts';

const milliseconds = () => z.int().min(1).max(600_000);

function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, pathname } = new URL(text);
  return /^rediss?:$/.test(protocol) && hostname !== '' && /^\/?\d*$/.test(pathname);
}

const node = z.string().regex(/^[^\s/,]+:\d{1,5}$/, 'a node is host:port');

export const redisStoreConfig = z
  .strictObject({
    url: z
      .string()
      .refine(isRedisUrl, {
        message: 'expected redis://host:port or, with TLS, rediss://host:port, and /number for a database',
      })
      .optional()
      .meta({
        description:
          'redis://host:port/database, rediss:// with TLS; may hold user and password. Default, without `cluster`: redis://localhost:6379',
      }),
    cluster: z.array(node).min(1).optional().meta({
      description:
        'In place of the url: nodes of a Redis Cluster to ask first, host:port; the others are learnt from them',
    }),
    username: z.string().min(1).optional().meta({ description: 'User of the access control list; wins over the url' }),
    password: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'Password, better from the environment than in the file; wins over the url' }),
    tls: tlsConfig.optional().meta({ description: 'TLS: true, or files and options' }),
    groups: z.int().min(1).max(256).default(16).meta({
      description:
        'Slot groups that the keys are spread over, for a Redis Cluster; another number starts with empty state',
    }),
    key_prefix: z
      .string()
      .regex(/^[\w.-]{1,64}$/, 'letters, digits, dots, underscores and hyphens, at most 64')
      .default('weir')
      .meta({ description: 'What every key begins with' }),
    connect_timeout_ms: milliseconds()
      .default(10_000)
      .meta({ description: 'How long to try at the start before giving up' }),
    command_timeout_ms: milliseconds()
      .default(5_000)
      .meta({ description: 'After this silence of Redis the connection is made anew and the calls are repeated' }),
  })
  .refine(({ url, cluster }) => url === undefined || cluster === undefined, {
    message: 'redis takes a url or a cluster, not both',
  });

export type RedisStoreConfig = z.output<typeof redisStoreConfig>;
