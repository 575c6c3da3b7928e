import { type RouteConfig, index, route } from '@react-router/dev/routes';

export default [
  index('routes/home.tsx'),
  route('huddles/:groupId', 'routes/huddle.tsx'),
  route('api/roster', 'routes/api.roster.ts'),
  route('api/huddles/:groupId/join', 'routes/api.huddles.$groupId.join.ts'),
  route('api/huddles/:groupId/remove', 'routes/api.huddles.$groupId.remove.ts'),
  route('api/huddles/:groupId/end', 'routes/api.huddles.$groupId.end.ts'),
] satisfies RouteConfig;
