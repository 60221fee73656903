// The shapes that the page's modules share. Only the type checker reads this: browsers need not load it.

/** What an element may contain. */
type Child = Node | string | number | false | null | undefined;
type Children = (Child | Child[])[];
type Props = Record<string, unknown>;
/** A button. */
type Choice = { text: string; act: () => void };

/** An entry as the service answers it. */
type Entry = {
  id: string;
  /** RFC 3339 in UTC, with milliseconds. */
  timestamp: string;
  action_type: string;
  /** `"true"` or `"false"`. */
  success: string;
  error_message: string | null;
  user_id: string | number;
  /** Where it differs from `user_id`. */
  sub?: string;
  role: string;
  ip_address: string;
  device_info: string;
  file_path: string | null;
  related_object_type: string | null;
  related_object_id: string | null;
  metadata: Record<string, unknown>;
  request_id: string;
  kept_until: string;
  /** Place in the sealed log, once it has one. */
  seq?: number;
};

/**
 * A page of entries. `next` is there while there is more; then with fewer entries than a page holds it is not known yet whether
 * one of the rest matches. `cursor` covers the reading of single entries, `newer` asks for what came since.
 */
type Page = { entries: Entry[]; scanned: number; next: string | null; cursor: string; newer: string; settled: string };

/** Parameters of a request. */
type Params = [name: string, value: string][];

/** The rest of a request. Sent again with the same `key`, it is the same one. */
type Asked = { params?: Params; body?: unknown; key?: string; signal?: AbortSignal };

/** What is looked at. `entry` is the id of the open one, or empty; `misread` a link's filter that is not understood. */
type ViewState = { query: Query; misread: string; zone: string; entry: string; columns: string[] };

type Api = import('../../admin-ui/log.js').Api;
type View = import('../../admin-ui/log.js').View;

/** Entries of a time, in milliseconds. */
type Bar = { from: number; to: number; succeeded: number; failed: number };
type OnNarrow = (from: string, to: string) => void;

/** What the service answers of an export; with a `url` it is ready. */
type Export = {
  export_id: string; expires_at: string; scanned: number; written: number; bytes: number;
  file_path?: string; url?: string; manifest?: { sha256: string };
};

/** What the operator says in `config.json`. */
type Config = { api: string; audit_keys: string[]; oidc?: Provider };
type Provider = { issuer: string; client_id: string; scope: string };

/** What an access token says of itself. Only the service verifies it. */
type Claims = { sub: string; org_id: string; role: string; exp: number; user_id?: string | number };

/**
 * An event `change` after each sign-in. If `detail.other` is true, then somebody else signed in, or for another organisation, or
 * with another role: what is on the page is not theirs to see. Until the event was handled, the page stays covered.
 */
type Session = EventTarget & {
  /** The user's menu, for the header. */
  element: HTMLElement;
  /** The token, while there is one that has not ended. */
  token(): string | null;
  /** Also of a session that is over. */
  claims(): Claims | null;
  /**
   * Asks the person to sign in, unless they are; resolves when they are. Takes what the provider sent back out of the address and
   * puts the view's fragment back: so read the fragment after it.
   */
  signIn(): Promise<void>;
  /** Loads the page anew, without its fragment: so nothing of what was shown remains, in memory or on the screen. */
  signOut(): void;
  /** The service answered 401 to this token: it may be an earlier one, of a request that took long. */
  expired(refused?: string): void;
};

/** A token that the local stack offers. */
type Identity = { org_id: string; sub: string; role: string; token: string };

/** What is kept of a sign-in while the person is at the identity provider. */
type Pending = { state: string; nonce: string; verifier: string; fragment: string; owner?: string };
/** What comes back from there, if `isAnswer`. `pending` is empty if nobody here asked for it. */
type Returned = { isAnswer: boolean; params: URLSearchParams; pending: Pending };

/** What most parts of the page need. */
type Context = { api: Api; config: Config; org: string; /** Aborted with the person's page. */ signal: AbortSignal };

type Bytes = Uint8Array<ArrayBuffer>;
/** Under a name; its id is hexadecimal, and depends on both. */
type Key = { name: string; id: string; bytes: Bytes };
type Tree = { size: number; root: Bytes };
/** A signed note with a log's size and root hash. Reading one does not verify it. */
type Checkpoint = Tree & { note: string; text: string; signatures: { name: string; id: string; bytes: Bytes }[]; origin: string };
/** A checkpoint whose signature holds, and by which key; `pinned` if that is one of `config.json`. */
type Signed = { checkpoint: Checkpoint; key: Key; pinned: boolean };
/** Two signed notes of which the later is not proved to continue the earlier; `isKept` if they show by themselves that it does not. */
type Evidence = { message: string; earlier: string; later: string; at: number; isKept: boolean };
/** How far the sealer came, and the time of the newest leaf. */
type AsOf = { tree_size: number; time: string | null };
/** How the seal is: `title` in few words, `text` says what it means and what to do. */
type Level = 'good' | 'warn' | 'bad' | 'idle';
type Seal = { level: Level; title: string; text: string; evidence?: Evidence };
/** What a browser remembers: the checkpoints that it saw, smallest first. `broken` stays until it is forgotten on purpose. */
type Memory = { seen: { note: string; at: number }[]; broken?: Evidence };
/** An entry as it is shown, its exact bytes and their hash as the service has it; the cursor of the query that found it. */
type Claim = { entry: Record<string, any>; raw: string; leafHash: string; cursor?: string | null };
/** Throws if its work fails; then none after it is taken. */
type Step = <T>(title: string, work: (say: (...found: Child[]) => void) => T | Promise<T>) => Promise<T>;

type FieldName = 'action' | 'user' | 'file' | 'outcome' | 'type' | 'object' | 'system' | 'role' | 'ip' | 'request';
type Term = { field: FieldName; value: string; not: boolean };
/** Terms in the order of FIELDS, each once; '' is what is not given; times as they were written. */
type Query = { terms: Term[]; from: string; to: string; hours: string; order: 'desc' | 'asc' };
/** Where in a text. */
type Place = { at: number; length: number };
type Problem = Place & { message: string };
/** In what a range of time is cut. */
type Unit = '1m' | '5m' | '15m' | '1h' | '3h' | '6h' | '12h' | '1d' | '7d';
/** An entry with its exact bytes and their hash, hexadecimal. */
type Known = Entry & { raw: string; leaf_hash: string };
