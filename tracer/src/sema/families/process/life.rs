//! `process(…).begin`, `.end`, `.thread.begin`, `.thread.end`, `.syscall[.return]`: by tracepoints of the kernel.
//!
//! A tracepoint is hit by every task of the machine; a guard at the front of the handler lets those through that run
//! the program: the file that the task's memory was made from has its inode and device. So programs that start later
//! are found, whoever starts them, and children that a fork made count until they execute something else.
//!
//! What begins is seen at the return of the system call that made it, in its own context: `execve`, and the child's
//! side of `fork` and `clone`. What was there before the probes is seen at the return of its next system call.
//!
//! Source: stapprobes(3stap), "PROCESS". As there, a process ends when its first thread does.

use std::path::Path;
use std::rc::Rc;

use tracer_common::ir::BinOp;
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use super::{Process, Program, ends, misplaced};
use crate::debuginfo::btf::Btf;
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::families::session::NoTargets;
use crate::sema::families::task::{Task, equals};
use crate::sema::family::{Candidate, Resolved, TargetScope};
use crate::sema::guard::TASK;
use crate::sema::program::{Access, Guard, TargetValue, Trigger};
use crate::sema::target_var::{WORD, unknown};
use crate::source::Span;
use crate::syntax::ast::{ProbePointComponent, TargetExpr, TargetRoot};

/// System calls that return where something begins: clone, fork, vfork, execve, execveat, clone3.
const BEGINNERS: [i64; 6] = [56, 57, 58, 59, 322, 435];
/// Members of `pt_regs` that carry the arguments of a system call, in order.
const ARGUMENTS: [&str; 6] = ["di", "si", "dx", "r10", "r8", "r9"];

/// Where the kernel is probed.
enum Hook {
    Tracepoint(&'static str),
    Function(&'static str),
}

impl Process<'_> {
    /// The places of what follows a program; of all programs, where there is none.
    pub(super) fn life(
        &self,
        program: Option<&Program>,
        what: &ProbePointComponent,
        rest: &[ProbePointComponent],
    ) -> Result<Vec<Candidate>, Diagnostic> {
        let span = what.span;
        let btf = self.types.get(span)?;
        let task = Task { btf: &btf, span };
        let mut guard = Guard::default();
        match program {
            None => task.is_of_a_program(&mut guard)?,
            Some(Program { pid: Some(pid), .. }) => {
                guard.test(equals(task.read(TASK, "task_struct", &["tgid"])?, i64::from(*pid)));
            }
            Some(program) => task.runs(&mut guard, self.world, &program.module.path)?,
        }
        let mut scope: Rc<dyn TargetScope> = Rc::new(NoTargets);
        let (text, hook) = match (&*what.name, rest.first().map(|next| &*next.name)) {
            ("syscall", None) => {
                scope = Rc::new(SystemCall::new(&task, false)?);
                ("syscall", Hook::Tracepoint("sys_enter"))
            }
            ("syscall", Some("return")) => {
                ends(&rest[1..], ".return")?;
                scope = Rc::new(SystemCall::new(&task, true)?);
                ("syscall.return", Hook::Tracepoint("sys_exit"))
            }
            ("begin", None) => {
                task.is_first_thread(&mut guard, true)?;
                only_what_begins(&mut guard, &task)?;
                ("begin", Hook::Tracepoint("sys_exit"))
            }
            ("end", None) => {
                task.is_first_thread(&mut guard, true)?;
                ("end", exit(&btf))
            }
            ("thread", Some("begin")) => {
                ends(&rest[1..], ".begin")?;
                task.is_first_thread(&mut guard, false)?;
                only_what_begins(&mut guard, &task)?;
                ("thread.begin", Hook::Tracepoint("sys_exit"))
            }
            ("thread", Some("end")) => {
                ends(&rest[1..], ".end")?;
                task.is_first_thread(&mut guard, false)?;
                ("thread.end", exit(&btf))
            }
            ("thread", None) => {
                return Err(Diagnostic::error(Code::ProbePoint, span, "what of the thread?")
                    .hint("there are: thread.begin, thread.end"));
            }
            (_, Some(_)) => return Err(misplaced(&rest[0], &format!(".{}", what.name))),
            (_, None) => return Err(misplaced(what, "a process")),
        };
        let (attach, kind) = self.hook(&hook, &btf, span)?;
        let program = program.map_or("process", |program| &program.text);
        let site = Site::new(attach, format!("{program}.{text}"));
        Ok(vec![Candidate { guard, ..Candidate::new(Trigger::Kernel(kind), site, scope) }])
    }

    fn hook(&self, hook: &Hook, btf: &Btf, span: Span) -> Result<(AttachPoint, ProgramKind), Diagnostic> {
        match hook {
            Hook::Tracepoint(name) if btf.tracepoint(name).is_some() => {
                Ok((AttachPoint::Tracepoint { name: (*name).to_owned() }, ProgramKind::RawTracepoint))
            }
            Hook::Tracepoint(name) => Err(Diagnostic::error(
                Code::ProbePoint,
                span,
                format!("this needs the kernel's tracepoint {name}, which is not there"),
            )),
            Hook::Function(_)
                if !self.world.exists(Path::new("/sys/bus/event_source/devices/kprobe/type")) =>
            {
                Err(Diagnostic::error(
                    Code::NoKprobes,
                    span,
                    "before Linux 6.16, the end of a process is seen by a kprobe, and this kernel has none",
                ))
            }
            Hook::Function(name) => Ok((
                AttachPoint::Kernel { symbol: (*name).to_owned(), offset: 0, btf: None },
                ProgramKind::Kprobe,
            )),
        }
    }
}

/// Where an exiting task still has its memory: from 6.16 on the tracepoint, which then has a second argument.
fn exit(btf: &Btf) -> Hook {
    match btf.tracepoint("sched_process_exit") {
        Some(arguments) if arguments.len() > 1 => Hook::Tracepoint("sched_process_exit"),
        _ => Hook::Function("do_exit"),
    }
}

/// At `sys_exit`: lets through where a process or a thread begins with this return, or was not seen before.
fn only_what_begins(guard: &mut Guard, task: &Task<'_>) -> Result<(), Diagnostic> {
    let number = guard.keep(call_number(task)?);
    let one_of = BEGINNERS
        .map(|call| equals(number.clone(), call))
        .into_iter()
        .reduce(|all, one| Access::Binary(BinOp::Or, Box::new(all), Box::new(one)))
        .unwrap_or(Access::Constant(0));
    let succeeded = equals(Access::Argument(1, WORD), 0);
    guard.fresh = Some(Access::Binary(BinOp::And, Box::new(succeeded), Box::new(one_of)));
    Ok(())
}

/// At `sys_enter` and `sys_exit`: the number of the system call.
fn call_number(task: &Task<'_>) -> Result<Access, Diagnostic> {
    task.read(Access::Argument(0, WORD), "pt_regs", &["orig_ax"])
}

/// Variables of a system call, with their values.
struct SystemCall(Vec<(String, Access)>);

impl SystemCall {
    fn new(task: &Task<'_>, is_return: bool) -> Result<SystemCall, Diagnostic> {
        let mut variables = vec![("syscall".to_owned(), call_number(task)?)];
        if is_return {
            variables.push(("return".to_owned(), Access::Argument(1, WORD)));
        } else {
            for (n, register) in ARGUMENTS.iter().enumerate() {
                let value = task.read(Access::Argument(0, WORD), "pt_regs", &[register])?;
                variables.push((format!("arg{}", n + 1), value));
            }
        }
        Ok(SystemCall(variables))
    }
}

impl TargetScope for SystemCall {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        let name = match &target.root {
            TargetRoot::Variable(name) => name,
            TargetRoot::Special(name) if &**name == "parms" => {
                let arguments = self.0.iter().filter(|(name, _)| name.starts_with("arg"));
                let (names, values) =
                    arguments.map(|(name, access)| (format!("${name}"), Ok(access.clone()))).unzip();
                let value = TargetValue::List { list: 0, values };
                return Ok(Resolved { value, names, at_entry: false });
            }
            _ => {
                let message = "a system call has no variables of this kind";
                return Err(Diagnostic::error(Code::UnresolvedTarget, span, message)
                    .hint("there are: $syscall, $arg1 to $arg6, $$parms; $return at its return"));
            }
        };
        let Some((_, access)) = self.0.iter().find(|(known, _)| **known == **name) else {
            let known: Vec<String> = self.0.iter().map(|(name, _)| name.clone()).collect();
            return Err(unknown(name, &known, span, "a system call"));
        };
        if target.address_of || target.pretty.is_some() || !target.path.is_empty() {
            let message = format!("${name} is a number: it has no members and no address");
            return Err(Diagnostic::error(Code::UnresolvedTarget, span, message)
                .hint(format!("@cast(${name}, \"type\") says what it points to")));
        }
        Ok(Resolved { value: TargetValue::Value(access.clone()), names: Vec::new(), at_entry: false })
    }

    fn list(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| format!("${name}:long")).collect()
    }
}
