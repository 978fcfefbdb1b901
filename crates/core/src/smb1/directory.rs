//! [MS-CIFS] 3.3.5.3, 3.3.5.4 and 3.3.5.17: folders.

use countersign_fs::call::OpenCall;
use countersign_fs::{FsCall, SmbPath};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{AccessMask, CreateOptions, Disposition, FileAttributes, ShareAccess};
use countersign_wire::smb1::Block;
use countersign_wire::smb1::info::decode_fea_list;
use countersign_wire::smb1::paths::decode_name;
use countersign_wire::smb1::trans2::decode_create_directory;
use countersign_wire::smb1::transaction::Answer as TransactionAnswer;

use super::open::{close_file, open_call, open_file};
use super::request::{Answer, Reply, Request, Stop};

pub(super) async fn create(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let name = decode_name(block, cx.text())?;
    make(cx, &name, Vec::new()).await?;
    Ok(Reply::empty())
}

async fn make(cx: &Request, name: &str, eas: Vec<countersign_fs::Ea>) -> Result<(), Stop> {
    let path = cx.path(name)?;
    if path.is_root() {
        return Err(Stop::Status(NtStatus::OBJECT_NAME_COLLISION));
    }
    let call = OpenCall {
        disposition: Disposition::Create,
        options: CreateOptions::DIRECTORY_FILE,
        attributes: FileAttributes::DIRECTORY,
        eas,
        ..open_call(cx, path)
    };
    let opened = open_file(cx, call).await?;
    close_file(cx, opened.open).await;
    Ok(())
}

/// TRANS2_CREATE_DIRECTORY, [MS-CIFS] 3.3.5.58.12.
pub(super) async fn create2(
    cx: &mut Request,
    parameters: &[u8],
    data: &[u8],
) -> Result<TransactionAnswer, Stop> {
    let name = decode_create_directory(parameters, cx.text())?;
    let eas = decode_fea_list(data)?
        .into_iter()
        .map(|ea| countersign_fs::Ea {
            flags: ea.flags,
            name: ea.name,
            value: ea.value,
        })
        .collect();
    make(cx, &name, eas).await?;
    Ok(TransactionAnswer {
        parameters: vec![0, 0],
        ..TransactionAnswer::default()
    })
}

pub(super) async fn delete(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let name = decode_name(block, cx.text())?;
    let path = cx.path(&name)?;
    if path.is_root() {
        return Err(Stop::Status(NtStatus::CANNOT_DELETE));
    }
    remove(cx, path).await?;
    Ok(Reply::empty())
}

async fn remove(cx: &Request, path: SmbPath) -> Result<(), Stop> {
    let call = OpenCall {
        access: AccessMask::DELETE | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        share_access: ShareAccess::empty(),
        options: CreateOptions::DIRECTORY_FILE | CreateOptions::OPEN_REPARSE_POINT,
        ..open_call(cx, path)
    };
    let opened = open_file(cx, call).await?;
    let open = std::sync::Arc::clone(&opened.open);
    let set = FsCall::SetDisposition {
        open,
        delete: true,
        posix: false,
        ignore_readonly: false,
    };
    let result = cx.call(set).await;
    close_file(cx, opened.open).await;
    result?;
    Ok(())
}

pub(super) async fn check(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let name = decode_name(block, cx.text())?;
    let path = cx.path(&name)?;
    let metadata = super::information::stat_path(cx, path).await?;
    if !metadata.is_directory() {
        return Err(Stop::Status(NtStatus::NOT_A_DIRECTORY));
    }
    Ok(Reply::empty())
}
