/// <reference lib="esnext.disposable" />

// Needs TypeScript 5.2 or newer, for `AsyncDisposable`.
// Everything handed out is plain data: numbers, texts, objects and arrays. Times are milliseconds since the epoch,
// durations say their unit in their name.

/** A room as the server has it now. */
export interface MediaRoomInfo {
  /** The room's name, without the configured prefix. */
  name: string;
  /** Participants in the room, hidden ones too but no agents; on LiveKit up to 10 s old. */
  numParticipants: number;
  /** Most participants at once; `0`: no limit. */
  maxParticipants: number;
  /** Milliseconds since the epoch. */
  createdAt: number;
  /** Always `true`: a server tells of open rooms alone. It does not say that anybody is in it. */
  active: boolean;
}

/**
 * What a new room is made with; numbers are whole, 0 to 4,294,967,295. A room that is already live keeps what it has.
 * At run time `null` in a field counts as absent.
 */
export interface MediaRoomInfoSettings {
  /** Most participants at once; default `0`: no limit. */
  maxParticipants?: number | undefined;
  /**
   * Seconds an empty room lives, before the first join and after the last leave; up to 2 s more pass.
   * Default `0`: the server's own times, 300 and 20 unless it is told otherwise.
   */
  emptyTimeoutSecs?: number | undefined;
  /** Seconds a room lives after the last leave; default: `emptyTimeoutSecs`. */
  departureTimeoutSecs?: number | undefined;
  /** Text that everyone in the room reads; default: none. */
  metadata?: string | undefined;
}

/** Where a participant's track comes from. */
export type MediaTrackSource = 'camera' | 'microphone' | 'screen_share' | 'screen_share_audio';

/**
 * Whom a token is for and what it allows. Other keys (those of a whole user record) are ignored and never enter the
 * token; a misspelt restriction, such as `canPublsh`, is `INVALID_ARGUMENT`. At run time `null` counts as absent in
 * `name`, `metadata`, `attributes` and `ttlSecs`; in a permission it is `INVALID_ARGUMENT`.
 */
export interface MediaParticipantInfo {
  /** Unique within the room: a second join with the same identity removes the first. 1 to 256 bytes of UTF-8, no control characters. */
  identity: string;
  /** The name that others see. */
  name: string;
  /** May publish audio and video; default `true`. */
  canPublish?: boolean | undefined;
  /** May receive others' tracks; default `true`. */
  canSubscribe?: boolean | undefined;
  /** May send data messages; default `true`, whatever `canPublish` says. */
  canPublishData?: boolean | undefined;
  /** The only sources it may publish, at least one; default: all. For none, set `canPublish` to `false`. */
  canPublishSources?: readonly MediaTrackSource[] | undefined;
  /** May change its own name, metadata and attributes; default `false`. */
  canUpdateOwnMetadata?: boolean | undefined;
  /** Not shown to the others; default `false`. */
  hidden?: boolean | undefined;
  /** Text about the participant that everyone in the room reads; default: none. */
  metadata?: string | undefined;
  /** Texts by key, about the participant, that everyone in the room reads; default: none. */
  attributes?: Readonly<Record<string, string>> | undefined;
  /** Seconds for which the token opens the room, 1 to 2,592,000 (30 days); default: the configured `tokenTtlSecs`. */
  ttlSecs?: number | undefined;
  /** What the room is made with if this join has to create it, say after it timed out. Pass what you pass to `createRoom`. */
  roomSettings?: MediaRoomInfoSettings | undefined;
}

/** What a browser needs to join. */
export interface MediaTokenResult {
  /** The signed token (JWT). Hand it to nobody but its participant; mint a new one for each visit. */
  token: string;
  /** The ws or wss address to connect to. */
  url: string;
  /** When the token stops opening the room, in milliseconds since the epoch. It does not end a call. */
  expiresAt: number;
}

/** A track that a participant has published. */
export interface MediaTrack {
  /** The server's id for the track. */
  sid: string;
  /** `unknown` where the client did not say. */
  source: MediaTrackSource | 'unknown';
  kind: 'audio' | 'video' | 'data';
  /** Nothing is sent for now. */
  muted: boolean;
}

/** A participant in a room, as the server has it now. */
export interface MediaRoomParticipant {
  identity: string;
  /** The name that others see; may be `''`. */
  name: string;
  /** `joining`: its signalling is connected; `joined`: it has made its offer; `active`: media can flow; `disconnected`: it is leaving. */
  state: 'joining' | 'joined' | 'active' | 'disconnected';
  /** Milliseconds since the epoch. */
  joinedAt: number;
  /** Text that everyone in the room reads; `''` for none. */
  metadata: string;
  /** Texts by key that everyone in the room reads; `{}` for none. */
  attributes: Record<string, string>;
  /** May publish audio and video. */
  canPublish: boolean;
  /** May receive others' tracks. */
  canSubscribe: boolean;
  /** May send data messages. */
  canPublishData: boolean;
  /** What it publishes now. */
  tracks: MediaTrack[];
}

/** How long a call may take, and what ends it early. */
export interface MediaCallOptions {
  /** Ends this call with `ABORTED`, with the signal's reason as `cause`. Others who wait for the same room are not touched. */
  signal?: AbortSignalLike | undefined;
  /** Milliseconds for the whole call, queue and retries included, 1 to 2,147,483,647; default: the configured `timeoutMs` (10,000). */
  timeoutMs?: number | undefined;
}

/** What is used of an `AbortSignal`. Every `AbortSignal` fits; it has a name of its own so that neither DOM nor Node types are needed. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * Rooms and tokens. Every failure is a promise that rejects with a {@link MediaError}: `INVALID_ARGUMENT` before
 * anything is sent, then whatever the server or the way to it gives. Methods work when taken off the object.
 * The first call starts the embedded engine where that is the provider; `INVALID_CONFIG` if it cannot listen.
 */
export interface MediaService {
  /**
   * Creates the room, or gives the live one of that name back unchanged.
   * Calls for one room that overlap in this process share a single request: the first one's settings hold.
   */
  createRoom(roomId: string, settings?: MediaRoomInfoSettings, options?: MediaCallOptions): Promise<MediaRoomInfo>;
  /**
   * Disconnects everyone and removes the room; a room that is not there is success.
   * On LiveKit an unexpired token creates the room anew by joining, unless the server has `room.auto_create: false`.
   * On the embedded engine it also revokes: no token minted before joins a room of that name again, one minted afterwards does.
   */
  deleteRoom(roomId: string, options?: MediaCallOptions): Promise<void>;
  /** The rooms on the server, sorted by name; with a `roomPrefix`, only those that bear it. */
  listRooms(options?: MediaCallOptions): Promise<MediaRoomInfo[]>;
  /** Mints a token to join one room as one participant. Local work, no network. `URL_NOT_CONFIGURED` without a URL. */
  generateToken(roomId: string, participant: MediaParticipantInfo, options?: MediaCallOptions): Promise<MediaTokenResult>;
  /** Where browsers connect (ws or wss), or `null` while no URL is configured; the embedded engine always has one. */
  mediaUrl(options?: MediaCallOptions): Promise<string | null>;
  /** Those in the room, sorted by identity; none for a room that is not there. */
  listParticipants(roomId: string, options?: MediaCallOptions): Promise<MediaRoomParticipant[]>;
  /**
   * Disconnects a participant; `PARTICIPANT_NOT_FOUND` if there is none of that identity.
   * Their token stays valid: they can join again until it expires.
   */
  removeParticipant(roomId: string, identity: string, options?: MediaCallOptions): Promise<void>;
}

/** What the running app's platform offers. Augment this interface with what yours injects. */
export interface Platform {
  /** `undefined` while no media provider is configured: check before use. */
  media?: MediaService;
}

/** A platform of your own, from {@link createPlatform}. */
export interface OwnedPlatform extends Platform, AsyncDisposable {
  /**
   * Resolves when the calls under way have ended and what the platform holds is released: on LiveKit nothing; of the
   * embedded engine its rooms and its port. Later calls to that engine reject with `UNAVAILABLE`. May be called twice.
   */
  close(): Promise<void>;
}

/** Where rooms live. An option beats its environment variable; `undefined` and `''` count as absent. */
export interface PlatformOptions {
  /**
   * `MARAVILLA_MEDIA_PROVIDER`: a LiveKit server, an engine within this process, or nothing; default: `livekit` as soon
   * as one of URL, API URL, key and secret is set (key and secret have to be), else `none`. The rooms of `embedded` live and die with the process.
   */
  provider?: 'livekit' | 'embedded' | 'none' | undefined;
  /** `LIVEKIT_URL`: where clients connect; ws, wss, http or https, handed out as ws or wss. Without it no token can be minted. */
  url?: string | undefined;
  /** `LIVEKIT_API_URL`: where the server API is reached, when that differs; default: `url`. */
  apiUrl?: string | undefined;
  /** `LIVEKIT_API_KEY`; of the embedded engine `MARAVILLA_MEDIA_API_KEY`, default: a random pair for the process. */
  apiKey?: string | undefined;
  /** `LIVEKIT_API_SECRET`; of the embedded engine `MARAVILLA_MEDIA_API_SECRET`, given together with its key. */
  apiSecret?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_HOST`: embedded: the IP address to listen on, or `localhost`; default `127.0.0.1`.
   * For `0.0.0.0` and `::`, clients get the machine's first address that is not its own alone.
   */
  host?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_PORT`: embedded: 0 to 65,535, `0` for any free one; default: 7880 or the next free one, for
   * {@link createPlatform} any free one. One that is given and taken rejects the first call with `INVALID_CONFIG`.
   */
  port?: number | undefined;
  /** `MARAVILLA_MEDIA_PUBLIC_URL`: embedded: what clients get as URL, such as a proxy's; default: host and port. */
  publicUrl?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_RTC_PORT`: embedded: the UDP and TCP port for media, 1 to 65,535; default: any free one, chosen at the
   * first join. A given port is opened when the engine starts; if it is taken, the first call rejects with `INVALID_CONFIG`.
   */
  rtcPort?: number | undefined;
  /**
   * `MARAVILLA_MEDIA_RTC_ADDRESS`: embedded: up to 8 IP addresses, separated by commas, that clients send media to, such as a
   * container's host or the external address of a NAT; default: the machine's own. The port is the same at each: `rtcPort`.
   */
  rtcAddress?: string | undefined;
  /** `MARAVILLA_MEDIA_ROOM_PREFIX`: put before every room name on the server, and taken off again. Must not end in a letter or digit. */
  roomPrefix?: string | undefined;
  /** `MARAVILLA_MEDIA_TOKEN_TTL_SECS`: seconds for which a token opens its room, 1 to 2,592,000; default 21600 (6 h). */
  tokenTtlSecs?: number | undefined;
  /**
   * `MARAVILLA_MEDIA_TIMEOUT_MS`: milliseconds for a whole call, retries included; default 10000. On LiveKit Cloud a call moves to
   * another region only if it has 5000 or more.
   */
  timeoutMs?: number | undefined;
  /** Read in place of `process.env`: pass SvelteKit's `$app/env/private` or `$env/dynamic/private`, because it keeps `.env` out of `process.env`. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** An option of the hosted platform; accepted so that existing code compiles. No effect. */
  devServerUrl?: string | undefined;
  /** An option of the hosted platform; accepted so that existing code compiles. No effect. */
  tenant?: string | undefined;
}

/**
 * The process's platform: the injected one where there is one, else one made from options and environment.
 * The same object at each call, unless the environment has changed since. Options that differ from the first call's, or a
 * provider that cannot run: throws `INVALID_CONFIG`. There is one embedded engine in the process, for all threads.
 * An injected platform keeps its own `media`, unless `provider` or `MARAVILLA_MEDIA_PROVIDER` names one.
 * In bundles for workers, edge runtimes and browsers: the injected platform or an empty one.
 */
export declare function getPlatform(options?: PlatformOptions): Platform;

/** Forgets the platform that {@link getPlatform} gave, so that the next call makes a new one. A running engine keeps its rooms. */
export declare function clearPlatformCache(): void;

/**
 * Makes a platform of your own: uncached, and configured without the environment unless `env` is given. Proxies and
 * certificate authorities are the process's own. An embedded engine is its own too. Throws `INVALID_CONFIG`.
 */
export declare function createPlatform(options?: PlatformOptions): OwnedPlatform;

/** Calls `fn` and returns its result. For development tools of the hosted platform; `request` has no effect. */
export declare function runWithRequest<T>(request: unknown, fn: () => T): T;

/** Always `undefined`. For development tools of the hosted platform. */
export declare function getCurrentRequestStore(): undefined;

/** Why a call failed; what each means and how to mend it stands in the README. */
export type MediaErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_CONFIG'
  | 'URL_NOT_CONFIGURED'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'ROOM_NOT_FOUND'
  | 'PARTICIPANT_NOT_FOUND'
  | 'LIMIT_EXCEEDED'
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'BAD_RESPONSE'
  | 'UPSTREAM_ERROR'
  | 'INTERNAL';

/** What a {@link MediaError} can tell besides its code and message. Left out: `operation` is `''`, `retryable` is `false`. */
export interface MediaErrorDetails {
  operation?: string | undefined;
  retryable?: boolean | undefined;
  upstreamStatus?: number | undefined;
  requestId?: string | undefined;
  cause?: unknown;
}

/** The one error of this package. It has no `status`, so that no web framework answers a visitor with it. */
export declare class MediaError extends Error {
  constructor(code: MediaErrorCode, message: string, details?: MediaErrorDetails);
  readonly name: 'MediaError';
  readonly code: MediaErrorCode;
  /** The function or method that failed, such as `createRoom`. */
  readonly operation: string;
  /** The same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status the server answered, where it did. */
  readonly upstreamStatus?: number;
  /** The request's id (`X-Livekit-Request-Id`), where a request was made. */
  readonly requestId?: string;
  /** What led to it, such as the reason of an aborted signal. */
  readonly cause?: unknown;
}

/** Whether a caught value is a {@link MediaError}, also one of another copy of this package. */
export declare function isMediaError(value: unknown): value is MediaError;
